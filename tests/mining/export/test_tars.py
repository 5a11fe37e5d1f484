from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput, ImagesNotLocal, OutputExists
from mining import ImageSets
from mining.export import to_webdataset
from mining.export.skipped import SkippedSet
from mining.sets.decisions import DecisionsFile
from tests.folders import file_bytes
from tests.mining.made_mixed import MIXTRAL, says, write_mixed
from tests.mining.made_sets import write_sets
from tests.mining.sets.test_image_sets import SCHEMA
from tests.retrieval.stores import forget, jpeg, make_store, random_unit

ROWS = [[0, 1], [2, 3], [8, 7, 6, 5], [0, 9], [10, 11]]


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    return write_sets(tmp_path, ROWS)


def members(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                stream = tar.extractfile(member)
                assert stream is not None
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                found[member.name] = stream.read()
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the tar open
def test_webdatasets_own_loader_gives_a_set_as_one_sample(sets: ImageSets, tmp_path: Path) -> None:
    import webdataset

    summary = to_webdataset(sets, tmp_path / "out", sets_per_shard=2)
    assert (summary.asked, summary.written, summary.skipped) == (5, 5, {})
    tars = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert len(tars) == 3
    samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"{number:09d}" for number in range(5)]
    for sample, each in zip(samples, sets, strict=True):
        assert sample["json"]["set_id"] == each.set_id
        assert sample["json"]["images"] == [f"{place}.jpg" for place in range(each.size)]
        assert [sample[name].size for name in sample["json"]["images"]] == [(24, 16)] * each.size
    pairs = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("pil").to_tuple("0.jpg", "1.jpg")
    assert len(list(pairs)) == 5


def test_the_original_bytes_and_all_that_is_known_are_inside(sets: ImageSets, tmp_path: Path) -> None:
    to_webdataset(sets, tmp_path / "out")
    files = members(tmp_path / "out")
    assert [name for name in files if name.startswith("000000001.")] == [
        "000000001.0.jpg",
        "000000001.1.jpg",
        "000000001.json",
    ]
    fields = json.loads(files["000000002.json"])
    jsonschema.validate(fields, SCHEMA)
    assert [files[f"000000002.{name}"] for name in fields["images"]] == [jpeg(row) for row in (8, 7, 6, 5)]
    assert [member["sha256"] for member in fields["members"]] == [
        hashlib.sha256(jpeg(row)).hexdigest() for row in (8, 7, 6, 5)
    ]


def test_annotations_are_in_the_json_and_images_once(tmp_path: Path) -> None:
    mixed = write_mixed(tmp_path)
    to_webdataset(mixed, tmp_path / "out", sets_per_shard=5)
    files = members(tmp_path / "out")
    assert len([name for name in files if name.endswith(".jpg")]) == 8 + 6 + 3
    first = json.loads(files["000000000.json"])
    jsonschema.validate(first, SCHEMA)
    assert [each["kind"] for each in first["annotations"]] == ["comparison", "question"]
    index = pq.read_table(tmp_path / "out/index.parquet").to_pylist()
    assert index[0]["conversations"] == [
        {"kind": "comparison", "annotator": "mixtral-8x7b", "replaces": []},
        {"kind": "question", "annotator": "mixtral-8x7b", "replaces": []},
    ]
    assert [each["shard"] for each in index] == [0] * 5 + [1] * 5 + [2] * 3
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["version"] == 2
    assert {source.get("licence") for source in manifest["sources"].values()} == {None, "CC-BY-4.0"}
    assert str(tmp_path) not in json.dumps(manifest)
    to_webdataset(mixed, tmp_path / "questions", kind="question")
    assert json.loads(members(tmp_path / "questions")["000000001.json"])["annotations"] == []


def test_the_same_sets_give_the_same_bytes_after_a_stop_too(tmp_path: Path) -> None:
    mixed = write_mixed(tmp_path)
    to_webdataset(mixed, tmp_path / "whole", sets_per_shard=5)

    def stop(done: int, total: int) -> None:
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_webdataset(mixed, tmp_path / "out", sets_per_shard=5, on_progress=stop)
    first = (tmp_path / "out/00000.tar").stat().st_mtime_ns
    assert not (tmp_path / "out/manifest.json").exists()
    done: list[tuple[int, int]] = []
    to_webdataset(mixed, tmp_path / "out", sets_per_shard=5, on_progress=lambda *each: done.append(each))
    assert done == [(5, 13), (10, 13), (13, 13)]
    assert (tmp_path / "out/00000.tar").stat().st_mtime_ns == first
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "whole")
    assert to_webdataset(mixed, tmp_path / "out", sets_per_shard=5).written == 13


def test_a_set_whose_image_cannot_be_had_is_counted_and_named(tmp_path: Path) -> None:
    images = [jpeg(row) for row in range(11)] + [b"no image at all"]
    store = make_store(tmp_path, random_unit(12), images=images)
    sets = write_sets(tmp_path, [*ROWS, [3, 4]], store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [7])
    DecisionsFile(Path(sets.path) / "decisions.jsonl").add(sets[5], "reject", sets.sources)
    tar = tmp_path / "corpus/00000.tar"
    with open(tar, "r+b") as stream:  # somebody changed the image of row 2
        stream.seek(sets[1].members[0].offset or 0)
        stream.write(b"\xff\xd8\xff changed")
    told: list[SkippedSet] = []
    summary = to_webdataset(sets, tmp_path / "out", sets_per_shard=2, on_skipped=told.append)
    assert (summary.asked, summary.written) == (6, 2)
    assert [str(each) for each in told] == summary.named
    assert summary.skipped == {"changed": 1, "forgotten": 1, "of unknown format": 1, "rejected by a person": 1}
    ids, refs = [each.set_id for each in sets], [[member.ref for member in each.members] for each in sets]
    assert summary.named == [
        f"set {ids[1]}, image 1 ({refs[1][0]}): changed",
        f"set {ids[2]}, image 2 ({refs[2][1]}): forgotten",
        f"set {ids[4]}, image 2 ({refs[4][1]}): of unknown format",
    ]
    rejects = pq.read_table(tmp_path / "out/rejects.parquet").to_pylist()
    assert rejects[1] == {"set_id": ids[2], "position": 1, "ref": refs[2][1], "reason": "forgotten"}
    assert {name.split(".")[0] for name in members(tmp_path / "out")} == {"000000000", "000000003"}


def test_ids_of_any_letters_and_length_fit_into_the_tar(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], set_id=["../" * 60 + "é.json", "a.b\nc"])
    to_webdataset(sets, tmp_path / "out")
    assert all(len(name) < 100 and "/" not in name for name in members(tmp_path / "out"))


def test_another_view_or_other_annotations_do_not_go_into_the_same_folder(sets: ImageSets, tmp_path: Path) -> None:
    to_webdataset(sets, tmp_path / "out")
    with pytest.raises(OutputExists, match="out: holds an export of other sets or with other arguments; rejecting,"):
        to_webdataset(sets[:2], tmp_path / "out")
    sets.add_annotations([says(sets[0].set_id, "comparison", MIXTRAL, "Compare.", "Alike.")], "one")
    with pytest.raises(OutputExists, match="annotating sets since then counts too"):
        to_webdataset(ImageSets.open(sets.path), tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match="is not empty"):
        to_webdataset(sets, tmp_path / "full")


def test_nothing_to_export_is_an_error(sets: ImageSets, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there are no sets to export"):
        to_webdataset(sets.filter(level=7), tmp_path / "out")
    with pytest.raises(BadInput, match="must be at least 1"):
        to_webdataset(sets, tmp_path / "out", sets_per_shard=0)
    (tmp_path / "corpus/00000.tar").rename(tmp_path / "away.tar")
    with pytest.raises(ImagesNotLocal, match="of none of its 5 sets all images could be read"):
        to_webdataset(sets, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "away.tar").rename(tmp_path / "corpus/00000.tar")
    assert to_webdataset(sets, tmp_path / "out", sets_per_shard=2).written == 5
