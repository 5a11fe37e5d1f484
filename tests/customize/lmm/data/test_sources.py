"""What each place opens as, and how a source is described."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from customize.lmm.data.records import RecordSource
from customize.lmm.data.sample import LmmSample
from customize.lmm.data.set_samples import SetSource, TarSource
from customize.lmm.data.sources import describe_source, open_part
from index.errors import BadInput
from mining.export import to_llava, to_webdataset
from mining.sets.image_sets import ImageSets
from tests.mining.made_sets import annotation, write_foreign_sets


@pytest.fixture
def pairs(tmp_path: Path) -> ImageSets:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"]], texts=["One.", "Two."])
    sets.add_annotations([annotation("foreign-0", "Three.", "question", "people")], "more")
    return ImageSets.open(sets.path)


def test_a_folder_of_sets_its_tars_and_llava_records_are_recognized(pairs: ImageSets, tmp_path: Path) -> None:
    to_webdataset(pairs, tmp_path / "tars")
    to_llava(pairs, tmp_path / "llava/data.json")
    opened = [open_part(str(tmp_path / place)).source for place in ("foreign", "tars", "llava/data.json")]
    assert [type(source) for source in opened] == [SetSource, TarSource, RecordSource]
    assert [source.name for source in opened] == ["foreign", "tars", "data.json"]
    read = [list(source.read(np.arange(len(source)))) for source in opened]
    turns = [[each.turns for each in own if isinstance(each, LmmSample)] for own in read]
    assert turns[0] == turns[1] == turns[2]
    assert len(turns[0]) == 3


def test_options_reach_the_source(pairs: ImageSets, tmp_path: Path) -> None:
    part = open_part(f"{pairs.path}:2,kind=question+comparison,annotator=people,name=mine")
    assert (part.weight, part.count, part.source.name, len(part.source)) == (2.0, None, "mine", 1)
    part = open_part(f"{pairs.path},cad=choice,count=7")
    assert (part.count, len(part.source)) == (7, 2)
    (tmp_path / "photos").rename(tmp_path / "moved")
    source = open_part(f"{pairs.path},images={tmp_path}/moved").source
    (sample, *_) = source.read(np.array([0]))
    assert isinstance(sample, LmmSample)
    assert sample.images[0].read()
    assert len(list(open_part(f"{pairs.path},order=last").source.read(np.array([0, 1])))) == 2


def test_conversations_of_a_file_are_varied(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bus."}]
    (tmp_path / "x.jpg").write_bytes(b"x")
    (tmp_path / "data.jsonl").write_text(json.dumps({"id": "1", "image": "x.jpg", "conversations": turns}))
    source = open_part(f"{tmp_path}/data.jsonl,order=last", cache=str(tmp_path / "cache")).source
    (found,) = source.read(np.array([0]))
    assert isinstance(found, LmmSample)
    assert found.turns[0].parts == ("What?\n", 0)
    assert list((tmp_path / "cache").glob("*.arrow"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{0}/nothing.json", "nothing.json: does not exist"),
        ("{0}/photos", "is a folder without a manifest.json"),
        ("{0}/llava/data.json,cad=choice", "cad choose among image sets, and this is a file of records"),
        ("{0}/llava/data.json,images={0}/nowhere", "nowhere: the folder of the images of .* is not there"),
        ("{0}/tars,split=train", "split cannot be chosen of tars"),
        ("{0}/foreign,kind=poem", "poem"),
        ("{0}/foreign,cad=poem", "poem"),
        ("{0}/foreign,order=middle", "order 'middle': choose kept, first, last, random"),
        ("{0}/foreign,brief=perhaps", "write yes or no"),
        ("{0}/broken", "manifest.json: is damaged"),
    ],
)
def test_bad_input_is_one_line(pairs: ImageSets, tmp_path: Path, spec: str, message: str) -> None:
    to_webdataset(pairs, tmp_path / "tars")
    to_llava(pairs, tmp_path / "llava/data.json")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/manifest.json").write_text("{")
    with pytest.raises(BadInput, match=message) as error:
        open_part(spec.format(tmp_path))
    assert "\n" not in str(error.value)


def test_a_source_is_described_by_its_contents_and_options_without_its_place(pairs: ImageSets, tmp_path: Path) -> None:
    found = describe_source(f"{pairs.path}:2,cad=differences,name=mine")
    assert (found["weight"], found["cad"], found["sets"]) == (2.0, "differences", 2)
    assert {each["kind"]: each["count"] for each in found["annotations"]} == {"comparison": 2}
    kinds = {
        options: [each["kind"] for each in describe_source(f"{pairs.path}{options}")["annotations"]]
        for options in ("", ",kind=question", ",cad=choice", ",annotator=people")
    }
    assert kinds == {
        "": ["comparison", "question"],
        ",kind=question": ["question"],
        ",cad=choice": [],
        ",annotator=people": ["question"],
    }
    assert str(tmp_path) not in json.dumps(found)
    to_llava(pairs, tmp_path / "out.json")
    assert describe_source(f"{tmp_path / 'out.json'},count=2,images={tmp_path}") == {"file": "out.json", "count": 2}
