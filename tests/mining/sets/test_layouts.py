from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets.layouts import READERS, VERSION, read_layout
from tests.mining.made_sets import annotation, many_pairs, write_sets

FIXTURES = Path(__file__).parent / "image_sets"


@pytest.mark.parametrize("version", sorted(READERS))
def test_every_version_that_was_ever_written_is_read(version: int) -> None:
    """The folders were written by the release that brought the version, and are never written again."""
    sets = ImageSets.open(FIXTURES / f"version_{version}")
    assert sets.manifest["version"] == version
    pair = sets[0]
    assert (pair.strategy, pair.level, pair.image_sim, pair.text_sim) == ("overlap", 2, 0.25, 0.75)
    assert (pair.rows, pair.captions) == ((0, 1), ("a dog with a ball", "a ball and a dog"))
    assert pair.shared_nouns == ("dog", "ball")
    assert pair.reasons == ("share 2 nouns: dog, ball",)


def test_version_1_has_one_store_and_its_members_truth_becomes_extra() -> None:
    sets = ImageSets.open(FIXTURES / "version_1")
    assert [each.set_id for each in sets] == ["0_1", "3_2", "4_5_6"]
    (source,) = sets.sources.values()
    assert (source.kind, source.name) == ("store", f"store-{sets.manifest['store']['identity'][:12]}")
    assert {member.source for each in sets for member in each.members} == {source.name}
    assert [member.extra for member in sets[2].members] == [{"entity": "Lionel"}] * 3
    assert (sets[0].difficulty, sets[0].split, sets[0].members[0].captions) == (None, None, ())
    assert len(sets.with_annotations()[0].annotations) == 0
    assert sets.filter(min_difficulty=0).counts() == {}
    assert sets.split({"a": 0.5, "b": 0.5}).counts()["straddling"] == 0


def test_version_2_has_several_sources_annotations_and_sets_without_images() -> None:
    sets = ImageSets.open(FIXTURES / "version_2").with_annotations()
    assert [each.set_id for each in sets] == ["01234567-0_1", "photos-7", "text-8"]
    assert [(source.name, source.kind, source.licence) for source in sets.sources.values()] == [
        ("photos-1a2b3c4d", "files", "CC BY 4.0"),
        ("store-0123456789ab", "store", None),
    ]
    pair, photos, text = sets
    assert (pair.difficulty, pair.split, pair.extra) == (0.25, "train", {"seen": 3})
    assert pair.members[1].extra == {"truth": {"objects": [1]}}
    assert pair.members[1].captions == ("a ball and a dog", "another caption")
    assert [member.ref for member in photos.members] == [
        "photos-1a2b3c4d/a/1.jpg",
        "photos-1a2b3c4d/b.tar:2.jpg",
        "photos-1a2b3c4d/https://example.org/3.jpg",
    ]
    (said,) = pair.annotations
    assert (said.annotator.name, said.annotator.parameters, said.kind) == (
        "person:Ann",
        {"temperature": 0.2},
        "comparison",
    )
    assert said.turns[1].parts == ("Image 1: ", 0, " Image 2: ", 1, " What differs?")
    assert [each.content for each in text.annotations] == [{"topic": "greeting"}]
    assert len(sets.with_annotations(replaced=True)[0].annotations) == 2


def test_the_newest_version_is_the_one_that_is_written(tmp_path: Path) -> None:
    assert max(READERS) == VERSION == write_sets(tmp_path, [[0, 1]]).manifest["version"]


def manifest_of(tmp_path: Path) -> Path:
    return Path(write_sets(tmp_path, [[0, 1]]).path) / "manifest.json"


def test_a_newer_version_says_to_update(tmp_path: Path) -> None:
    assert VERSION + 1 == 3
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
    with pytest.raises(BadInput, match="unfinished image sets: run the same command again"):
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


@pytest.mark.parametrize(
    "change",
    [{"sources": 3}, {"sources": {"a": 3}}, {"sources": {"a": {}}}, {"group_sets": "many"}, {"parts": [{"file": "x"}]}],
)
def test_a_manifest_of_another_form_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    path = manifest_of(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadInput, match=r"manifest.json: lacks "):
        ImageSets.open(path.parent)


def test_what_a_later_release_adds_to_a_source_is_ignored(tmp_path: Path) -> None:
    path = manifest_of(tmp_path)
    manifest = json.loads(path.read_text())
    for source in manifest["sources"].values():
        source["colour"] = "blue"
    path.write_text(json.dumps({**manifest, "mood": "good"}))
    assert len(ImageSets.open(path.parent)) == 1


def test_sets_whose_members_are_of_another_number_are_damaged(tmp_path: Path) -> None:
    folder = manifest_of(tmp_path).parent
    other = Path(write_sets(tmp_path / "other", [[0, 1, 2]]).path)
    (folder / "members/members_0000.parquet").write_bytes((other / "members/members_0000.parquet").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["parts"][0]["members"] = manifest["members"] = 3
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=r"members_0000.parquet: missing or damaged \(has 3 members instead of 2"):
        ImageSets.open(folder)[0]


def test_a_layout_travels_without_its_caches_and_with_its_list_of_annotations(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, many_pairs(40, 300), images=40)
    layout = read_layout(sets.path)
    layout.group(1)
    assert (len(layout.set_ids), int(layout.sizes.sum()), len(layout.annotations)) == (300, 600, 0)
    sets.add_annotations([annotation(sets[0].set_id, "later")], "later")
    again = pickle.loads(pickle.dumps(layout))
    assert len(again.annotations) == 0
    assert again.group(1).sets.num_rows == 50
    assert len(pickle.dumps(layout)) < 10_000
    assert again.groups_of(np.array([0, 249, 250])).tolist() == [0, 0, 1]


def test_groups_are_read_by_threads_at_once(tmp_path: Path) -> None:
    layout = read_layout(write_sets(tmp_path, many_pairs(60, 1_000), images=60).path)
    with ThreadPoolExecutor(4) as threads:
        sizes = list(threads.map(lambda number: layout.group(number % 4).sets.num_rows, range(40)))
    assert sizes == [250] * 40


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"parts": []}, "lacks `parts`"),
        ({"sources": {}}, "lacks `sources`"),
        ({"group_sets": 0}, "lacks a number of `group_sets` from 1, it has 0"),
        ({"group_sets": -1}, "lacks a number of `group_sets` from 1, it has -1"),
        ({"sets": 99}, "says 99 sets, its parts have 1"),
        ({"members": 3}, "says 3 members, its parts have 2"),
    ],
)
def test_a_manifest_that_cannot_be_is_named(tmp_path: Path, change: dict[str, object], error: str) -> None:
    path = manifest_of(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadInput, match=f"manifest.json: {error}"):
        ImageSets.open(path.parent)


def test_a_manifest_that_is_nested_deeply_is_damaged(tmp_path: Path) -> None:
    path = manifest_of(tmp_path)
    path.write_text("[" * 100_000)
    with pytest.raises(BadInput, match=r"manifest.json: is damaged"):
        ImageSets.open(path.parent)


def test_row_groups_of_another_size_and_unknown_sources_are_damage(tmp_path: Path) -> None:
    path = Path(write_sets(tmp_path, many_pairs(40, 300), images=40).path) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "group_sets": 100}))
    with pytest.raises(BadInput, match=r"has 250 sets in row group 0 instead of 100, by `group_sets`"):
        ImageSets.open(path.parent)[0]
    (source,) = manifest["sources"].values()
    path.write_text(json.dumps({**manifest, "sources": {"other": source}}))
    with pytest.raises(BadInput, match=r"members name the source 'store-\w+', which the manifest does not describe"):
        ImageSets.open(path.parent)[0]
