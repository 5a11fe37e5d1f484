"""The images of sets: whole sets in their order, and every reason for which one is skipped."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from index.errors import ImagesNotLocal, StoreInvalid
from mining import ImageSets
from mining.export import member_images
from mining.export.member_images import UnreadableMember, decoded, decoded_sets, read_members, with_images
from mining.export.skipped import SkippedSet
from mining.sets.write_sets import write_image_sets
from retrieval.selection import describe_store
from tests.mining.made_sets import sets_table, write_sets
from tests.retrieval.stores import forget, jpeg, make_store, random_unit


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    images = [*(jpeg(row) for row in range(6)), b"no image at all", b"\xff\xd8\xff broken"]
    store = make_store(tmp_path, random_unit(8), images=images)
    return write_sets(tmp_path, [[0, 1], [2, 3], [5, 4, 0], [0, 6], [1, 7]], store=store)


def test_sets_come_with_their_files_in_order_window_after_window(
    sets: ImageSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_images, "_WINDOW", 2)
    skipped: list[SkippedSet] = []
    found = {each.set_id: files for each, files in with_images(sets.store(), sets, skipped.append)}
    assert list(found) == ["0_1", "2_3", "5_4_0", "1_7"]
    assert found["5_4_0"] == [jpeg(5), jpeg(4), jpeg(0)]
    assert skipped == [SkippedSet("0_6", 6, "of unknown format")]


def test_decoding_skips_what_is_no_image_inside(sets: ImageSets) -> None:
    skipped: list[SkippedSet] = []
    found = {each.set_id: images for each, images in decoded_sets(sets.store(), sets, skipped.append)}
    assert list(found) == ["0_1", "2_3", "5_4_0"]
    assert [(image.mode, image.size) for image in found["2_3"]] == [("RGB", (24, 16))] * 2
    assert [(each.set_id, each.row_id) for each in skipped] == [("0_6", 6), ("1_7", 7)]


def test_a_forgotten_row_skips_its_sets(sets: ImageSets) -> None:
    store = sets.store()
    forget(store, [3])
    skipped: list[SkippedSet] = []
    list(with_images(sets.store(), sets[:3], skipped.append))
    assert skipped == [SkippedSet("2_3", 3, "forgotten")]


def test_a_shard_that_is_gone_makes_its_images_missing(sets: ImageSets, tmp_path: Path) -> None:
    (tmp_path / "corpus/00000.tar").unlink()
    skipped: list[SkippedSet] = []
    assert not list(with_images(sets.store(), sets[:2], skipped.append))
    assert [each.reason for each in skipped] == ["missing", "missing"]


def test_where_sets_cannot_be_skipped_the_error_names_set_and_row(sets: ImageSets) -> None:
    store = sets.store()
    assert read_members(store, sets[0]) == [jpeg(0), jpeg(1)]
    with pytest.raises(UnreadableMember, match="set 0_6: row 6 is of unknown format; put the corpus back, or use"):
        read_members(store, sets[3])
    with pytest.raises(UnreadableMember, match="set 1_7: row 7 is ") as raised:
        decoded(sets[4], read_members(store, sets[4]))
    again = pickle.loads(pickle.dumps(raised.value))  # errors of DataLoader workers are pickled
    assert (str(again), again.skipped) == (str(raised.value), raised.value.skipped)


def test_a_store_without_images_says_how_to_get_them(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4), local=False)
    sets = write_sets(tmp_path, [[0, 1]], store=store)
    with pytest.raises(ImagesNotLocal, match="has embeddings and no images"):
        next(with_images(store, sets, print))


def test_a_row_of_another_key_means_another_store(tmp_path: Path) -> None:
    """The members do not say where their images lie, so the store is asked, and knows the row by another key."""
    store = make_store(tmp_path, random_unit(4))
    members = pa.table({"set_id": ["0_1"] * 2, "position": [0, 1], "row_id": [0, 1], "key": ["k0000", "other"]})
    fields = {"store": describe_store(store, str(tmp_path / "pairs"))}
    sets = write_image_sets(tmp_path / "pairs", sets_table([[0, 1]]), members, fields)
    with pytest.raises(StoreInvalid, match="row 1 is 'k0001', the sets say 'other'; this is another store"):
        next(with_images(store, sets, print))
