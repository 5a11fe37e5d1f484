from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets.layouts import READERS, VERSION
from tests.mining.made_sets import write_sets

FIXTURES = Path(__file__).parent / "image_sets"


@pytest.mark.parametrize("version", sorted(READERS))
def test_every_version_that_was_ever_written_is_read(version: int) -> None:
    """The folders were written by the release that brought the version, and are never written again."""
    sets = ImageSets.open(FIXTURES / f"version_{version}")
    assert sets.manifest["version"] == version
    assert [each.set_id for each in sets] == ["0_1", "3_2", "4_5_6"]
    pair = sets[0]
    assert (pair.strategy, pair.level, pair.image_sim, pair.text_sim) == ("overlap", 2, 0.25, 0.75)
    assert pair.shared_nouns == ("dog", "ball")
    assert pair.reasons == ("share 2 nouns: dog, ball",)
    assert pair.captions == ("a dog with a ball", "a ball and a dog")
    assert sets[2].entity == "Lionel"


def test_the_newest_version_is_the_one_that_is_written(tmp_path: Path) -> None:
    assert max(READERS) == VERSION == write_sets(tmp_path, [[0, 1]]).manifest["version"]


def manifest_of(tmp_path: Path) -> Path:
    return Path(write_sets(tmp_path, [[0, 1]]).path) / "manifest.json"


def test_a_newer_version_says_to_update(tmp_path: Path) -> None:
    path = manifest_of(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": VERSION + 1}))
    with pytest.raises(BadInput, match=f"has version {VERSION + 1} of the format.*update clipmine to read it"):
        ImageSets.open(path.parent)


@pytest.mark.parametrize("version", [0, None, "one", True])
def test_a_version_that_never_was_is_an_error(tmp_path: Path, version: object) -> None:
    path = manifest_of(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
    with pytest.raises(BadInput, match="of the format, this clipmine reads up to"):
        ImageSets.open(path.parent)


def test_a_folder_without_a_manifest_says_whether_it_is_unfinished(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no image sets"):
        ImageSets.open(tmp_path / "nothing")
    path = manifest_of(tmp_path)
    path.unlink()
    with pytest.raises(BadInput, match="unfinished image sets: run the same `clipmine mine` again"):
        ImageSets.open(path.parent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "not the manifest of image sets"),
        ('{"format": "clipmine-selection"}', "not the man"),
    ],
)
def test_a_manifest_that_is_none_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = manifest_of(tmp_path)
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        ImageSets.open(path.parent)


def test_a_manifest_without_its_parts_is_named(tmp_path: Path) -> None:
    path = manifest_of(tmp_path)
    path.write_text(json.dumps({"format": "clipmine-image-sets", "version": 1}))
    with pytest.raises(BadInput, match=r"lacks 'parts'"):
        ImageSets.open(path.parent)


@pytest.mark.parametrize("name", ["sets/sets_0000.parquet", "members/members_0000.parquet"])
def test_a_part_that_is_missing_cut_or_of_another_count_is_named(tmp_path: Path, name: str) -> None:
    folder = manifest_of(tmp_path).parent
    other = Path(write_sets(tmp_path / "other", [[0, 1], [2, 3]]).path)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(BadInput, match=f"{name}: has . rows, its manifest says"):
        ImageSets.open(folder)
    (folder / name).write_bytes(whole[:-9])
    with pytest.raises(BadInput, match=f"{name}: missing or damaged"):
        ImageSets.open(folder)
    (folder / name).unlink()
    with pytest.raises(BadInput, match=f"{name}: missing or damaged"):
        ImageSets.open(folder)


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    path = manifest_of(tmp_path)
    manifest = json.loads(path.read_text())
    manifest["parts"][0]["file"] = "../../etc/passwd"
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match="leaves its folder"):
        ImageSets.open(path.parent)


@pytest.mark.parametrize("set_id", ["../../1", "1_0", "0_2"])
def test_an_id_that_does_not_name_the_members_is_nothing_to_make_files_of(tmp_path: Path, set_id: str) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    path = Path(sets.path) / "sets/sets_0000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "set_id", pa.array([set_id])), path)
    with pytest.raises(BadInput, match="its id does not name its members"):
        ImageSets.open(sets.path)[0]
