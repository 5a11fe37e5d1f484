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
from tests.folders import file_bytes
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
    assert [sample["__key__"] for sample in samples] == ["0_1", "2_3", "8_7_6_5", "0_9", "10_11"]
    for sample, rows in zip(samples, ROWS, strict=True):
        assert sample["json"]["images"] == [f"{place}.jpg" for place in range(len(rows))]
        assert [sample[name].size for name in sample["json"]["images"]] == [(24, 16)] * len(rows)
    pairs = webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("pil").to_tuple("0.jpg", "1.jpg")
    assert len(list(pairs)) == 5


def test_the_original_bytes_and_all_that_is_known_are_inside(sets: ImageSets, tmp_path: Path) -> None:
    to_webdataset(sets, tmp_path / "out")
    files = members(tmp_path / "out")
    assert [name for name in files if name.startswith("2_3.")] == ["2_3.0.jpg", "2_3.1.jpg", "2_3.json"]
    fields = json.loads(files["8_7_6_5.json"])
    jsonschema.validate(fields, SCHEMA)
    assert [files[f"8_7_6_5.{name}"] for name in fields["images"]] == [jpeg(row) for row in (8, 7, 6, 5)]
    assert [member["sha256"] for member in fields["members"]] == [
        hashlib.sha256(jpeg(row)).hexdigest() for row in (8, 7, 6, 5)
    ]


def test_the_same_sets_give_the_same_bytes_after_a_stop_too(sets: ImageSets, tmp_path: Path) -> None:
    to_webdataset(sets, tmp_path / "whole", sets_per_shard=2)

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_webdataset(sets, tmp_path / "out", sets_per_shard=2, on_progress=stop)
    first = (tmp_path / "out/00000.tar").stat().st_mtime_ns
    assert not (tmp_path / "out/manifest.json").exists()
    done: list[tuple[int, int]] = []
    to_webdataset(sets, tmp_path / "out", sets_per_shard=2, on_progress=lambda *each: done.append(each))
    assert done == [(2, 5), (4, 5), (5, 5)]
    assert (tmp_path / "out/00000.tar").stat().st_mtime_ns == first
    assert file_bytes(tmp_path / "out") == file_bytes(tmp_path / "whole")
    assert to_webdataset(sets, tmp_path / "out", sets_per_shard=2).written == 5


def test_a_set_whose_image_cannot_be_had_is_counted_and_named(tmp_path: Path) -> None:
    images = [jpeg(row) for row in range(11)] + [b"no image at all"]
    store = make_store(tmp_path, random_unit(12), images=images)
    sets = write_sets(tmp_path, ROWS, store=store)
    forget(store, [7])
    tar = tmp_path / "corpus/00000.tar"
    with open(tar, "r+b") as stream:  # somebody changed the image of row 2
        stream.seek(sets[1].members[0].offset or 0)
        stream.write(b"\xff\xd8\xff changed")
    summary = to_webdataset(sets, tmp_path / "out", sets_per_shard=2)
    assert (summary.asked, summary.written) == (5, 2)
    assert summary.skipped == {"changed": 1, "forgotten": 1, "of unknown format": 1}
    assert summary.named == [
        "set 2_3: row 2 is changed",
        "set 8_7_6_5: row 7 is forgotten",
        "set 10_11: row 11 is of unknown format",
    ]
    rejects = pq.read_table(tmp_path / "out/rejects.parquet").to_pylist()
    assert rejects[1] == {"set_id": "8_7_6_5", "row_id": 7, "reason": "forgotten"}
    assert {name.split(".")[0] for name in members(tmp_path / "out")} == {"0_1", "0_9"}


def test_images_are_found_by_the_metadata_where_the_sets_do_not_say_where_they_are(tmp_path: Path) -> None:
    import pyarrow as pa

    from mining.sets.write_sets import write_image_sets
    from retrieval.selection import describe_store
    from tests.mining.made_sets import sets_table

    store = make_store(tmp_path, random_unit(4))
    plain = pa.table({"set_id": ["2_3"] * 2, "position": [0, 1], "row_id": [2, 3], "key": ["k0002", "k0003"]})
    fields = {"store": describe_store(store, str(tmp_path / "pairs"))}
    sets = write_image_sets(tmp_path / "pairs", sets_table([[2, 3]]), plain, fields)
    assert to_webdataset(sets, tmp_path / "out").written == 1
    assert members(tmp_path / "out")["2_3.1.jpg"] == jpeg(3)


def test_an_id_of_more_than_a_hundred_characters_fits_into_the_tar(tmp_path: Path) -> None:
    story = list(range(60))
    sets = write_sets(tmp_path, [story], images=60)
    to_webdataset(sets, tmp_path / "out")
    assert f"{'_'.join(map(str, story))}.59.jpg" in members(tmp_path / "out")


def test_another_view_does_not_go_into_the_same_folder(sets: ImageSets, tmp_path: Path) -> None:
    to_webdataset(sets, tmp_path / "out")
    with pytest.raises(OutputExists, match="other chosen"):
        to_webdataset(sets[:2], tmp_path / "out")


def test_nothing_to_export_is_an_error(sets: ImageSets, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there are no sets to export"):
        to_webdataset(sets.filter(level=7), tmp_path / "out")
    with pytest.raises(BadInput, match="must be at least 1"):
        to_webdataset(sets, tmp_path / "out", sets_per_shard=0)
    (tmp_path / "corpus/00000.tar").unlink()
    with pytest.raises(ImagesNotLocal, match="of none of its 5 sets all images could be read"):
        to_webdataset(sets, tmp_path / "out")
