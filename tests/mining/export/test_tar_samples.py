"""Samples from tars: the same as from the sources, read forward, and damage is one skipped set."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput
from index.files import open_file
from mining import ImageSets
from mining.export import tar_samples, to_webdataset
from mining.export.member_images import MemberImages
from mining.export.sample_files import SetFiles
from mining.export.samples import Samples
from mining.export.skipped import SkippedSet
from mining.export.tar_samples import TarSamples
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.corrections import CorrectionsFile
from tests.mining.made_mixed import MIXTRAL, says, write_mixed
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import jpeg


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ImageSets:
    sets = write_mixed(tmp_path_factory.mktemp("mixed"))
    to_webdataset(sets, Path(sets.path).parent / "tars", sets_per_shard=5)
    return sets


@pytest.fixture
def tars(mixed: ImageSets, tmp_path: Path) -> Path:
    """A copy, which a test may damage."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for path in (Path(mixed.path).parent / "tars").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def every(samples: Any) -> Any:
    return list(samples.read(np.concatenate(samples.blocks(0))))


@pytest.mark.parametrize(
    "choice",
    [{}, {"kind": "question"}, {"annotator": ["cad-inst", "mixtral-8x7b"]}, {"answer": lambda each: [("Why?", "So.")]}],
)
def test_the_samples_are_those_of_the_sources(mixed: ImageSets, tars: Path, choice: dict[str, Any]) -> None:
    expected = every(SetFiles(Samples(mixed, **choice), MemberImages(mixed)))
    found = every(TarSamples(tars, **choice))
    assert [(each.sample_id, each.turns, files) for each, files in found] == [
        (each.sample_id, each.turns, files) for each, files in expected
    ]
    assert [each.set.members for each, _ in found] == [each.set.members for each, _ in expected]
    assert len(found) == len(TarSamples(tars, **choice))


def test_sets_without_an_annotation_give_captions_or_are_told_of_where_one_is_asked_for(tmp_path: Path) -> None:
    """Also a correction counts for the annotator of what it corrects."""
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5]])
    old = says(sets[1].set_id, "comparison", MIXTRAL, "Compare.", "Alike.")
    sets.add_annotations([old], "one")
    turns = (Turn("user", ("Compare.",)), Turn("assistant", ("Not alike.",)))
    new = Annotation.make(old.set_id, "comparison", Annotator("person:Ann"), turns, parent=old.annotation_id)
    CorrectionsFile(sets.path).add(new)
    sets = ImageSets.open(sets.path)
    to_webdataset(sets, tmp_path / "tars")
    choices: list[dict[str, Any]] = [{}, {"annotator": "mixtral-8x7b"}, {"annotator": "person:Ann"}]
    for choice, count in zip(choices, (3, 1, 1), strict=True):
        found, expected = TarSamples(tmp_path / "tars", **choice), Samples(sets, **choice)
        samples: Any = expected.read(expected.numbers())
        assert [each.turns for each, _ in every(found)] == [each.turns for each in samples]
        assert len(found) == count
        assert [each.set_id for each in found.unused()] == [each.set_id for each in expected.unused()]
        assert sum(found.unused_counts().values()) == 3 - count


def test_one_annotation_a_set_is_drawn_the_same(mixed: ImageSets, tars: Path) -> None:
    for epoch in range(5):
        blocks = TarSamples(tars, per_set="one", seed=2).blocks(epoch)
        assert np.concatenate(blocks).tolist() == Samples(mixed, per_set="one", seed=2).numbers(epoch).tolist()


def test_tars_are_opened_once_and_read_forward(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the samples are asked for in another order."""
    reads: list[tuple[str, int, int]] = []
    opened = open_file

    def watched(path: str, mode: str = "rb", buffering: int = -1) -> Any:
        stream = opened(path, mode, buffering)
        if not path.endswith(".tar"):
            return stream

        class Watched:
            def __getattr__(self, name: str) -> Any:
                return getattr(stream, name)

            def read(self, size: int) -> bytes:
                reads.append((path, stream.tell(), size))
                data: bytes = stream.read(size)
                return data

        return Watched()

    samples = TarSamples(tars)
    monkeypatch.setattr(tar_samples, "open_file", watched)
    shuffled = np.random.default_rng(0).permutation(len(samples))
    found = list(samples.read(shuffled))
    assert len({each.sample_id for each, _ in found if not isinstance(each, SkippedSet)}) == 14  # type: ignore[misc]
    assert [Path(path).name for path, _, _ in reads] == ["00000.tar", "00001.tar", "00002.tar"]
    assert [start for _, start, _ in reads] == [0, 0, 0]


def test_large_tars_are_read_in_pieces(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = every(TarSamples(tars))
    monkeypatch.setattr(tar_samples, "_PIECE", 4_000)
    assert every(TarSamples(tars)) == whole


def test_a_damaged_or_missing_tar_skips_its_sets_with_the_reason(tars: Path) -> None:
    data = bytearray((tars / "00000.tar").read_bytes())
    data[0:9] = b"xxxxxxxxx"
    (tars / "00000.tar").write_bytes(data)
    (tars / "00001.tar").write_bytes((tars / "00001.tar").read_bytes()[:9_000])
    (tars / "00002.tar").unlink()
    found = every(TarSamples(tars))
    reasons = [each.reason if isinstance(each, SkippedSet) else "" for each in found]
    assert len(reasons) == 14
    assert reasons[0] == reasons[1] == "its tar is damaged ('xxxxxxxxx.0.jpg' where 000000000 should be)"
    assert reasons[2:6] == [""] * 4
    assert reasons[-3:] == ["its tar is missing"] * 3
    assert all(reason.startswith("its tar is damaged") for reason in reasons[-5:-3])


def test_it_travels_to_workers_without_open_files(tars: Path) -> None:
    samples = TarSamples(tars, kind="comparison")
    first = every(samples)
    assert first[1][1] == [jpeg(2), jpeg(3)]
    assert every(pickle.loads(pickle.dumps(samples))) == first


def test_a_folder_that_cannot_be_read_says_what_to_do(tars: Path) -> None:
    with pytest.raises(BadInput, match="no set in it has such an annotation"):
        TarSamples(tars, kind="story")
    with pytest.raises(BadInput, match="or give an answer function"):
        TarSamples(tars, kind="question", answer=lambda each: None)
    with pytest.raises(BadInput, match="per_set 'two'"):
        TarSamples(tars, per_set="two")  # type: ignore[arg-type]
    manifest = json.loads((tars / "manifest.json").read_text())
    changes: list[tuple[dict[str, Any], str]] = [
        ({"version": 3}, "has version 3 of the format, this clipmine reads 2; update clipmine"),
        ({"version": 1}, "has version 1 of the format, this clipmine reads 2; export again"),
        ({"format": "other"}, "is not the manifest of image sets in tars"),
    ]
    for fields, message in changes:
        (tars / "manifest.json").write_text(json.dumps({**manifest, **fields}))
        with pytest.raises(BadInput, match=message):
            TarSamples(tars)
    (tars / "manifest.json").write_text(json.dumps(manifest))
    (tars / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=r"index.parquet: missing or damaged"):
        TarSamples(tars)
    (tars / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="is damaged"):
        TarSamples(tars)
    (tars / "manifest.json").unlink()
    with pytest.raises(BadInput, match="is no finished export"):
        TarSamples(tars)
