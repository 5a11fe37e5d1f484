"""Sets with their images: whole and in their order, or skipped with the image that was the reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from mining import ImageSets
from mining.export import read_sets as module
from mining.export.member_images import MemberImages
from mining.export.read_sets import UnreadableMember, decoded, read_members, read_samples, read_sets
from mining.export.samples import Samples
from mining.export.skipped import SkippedSet
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import jpeg, make_store, random_unit


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    images = [*(jpeg(row) for row in range(6)), b"no image at all", b"\xff\xd8\xff broken"]
    captions = [*["a dog"] * 4, None, *["a dog"] * 3]
    store = make_store(tmp_path, random_unit(8), images=images, caption=captions)
    return write_sets(tmp_path, [[0, 1], [2, 3], [5, 4, 0], [0, 6], [1, 7]], store=store)


def test_sets_come_with_their_files_in_order_window_after_window(
    sets: ImageSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WINDOW", 2)
    found = list(read_sets(MemberImages(sets), sets))
    whole = [each for each in found if not isinstance(each, SkippedSet)]
    assert [each.rows for each, _ in whole] == [(0, 1), (2, 3), (5, 4, 0), (1, 7)]
    assert whole[2][1] == [jpeg(5), jpeg(4), jpeg(0)]
    assert found[3] == SkippedSet(sets[3].set_id, 1, sets[3].members[1].ref, "of unknown format")


def test_samples_come_the_same_and_skipped_ones_pass(sets: ImageSets) -> None:
    found = list(read_samples(MemberImages(sets), Samples(sets).read(np.arange(5))))
    kinds = [each.reason if isinstance(each, SkippedSet) else each[0].sample_id for each in found]
    ids = [each.set_id for each in sets]
    assert kinds == [ids[0], ids[1], "without a caption", "of unknown format", ids[4]]


def test_decoding_finds_what_is_no_image_inside(sets: ImageSets) -> None:
    images = MemberImages(sets)
    first = decoded(sets[1], read_members(images, sets[1]))
    assert not isinstance(first, SkippedSet)
    assert [(image.mode, image.size) for image in first] == [("RGB", (24, 16))] * 2
    broken = decoded(sets[4], read_members(images, sets[4]))
    assert broken == SkippedSet(sets[4].set_id, 1, sets[4].members[1].ref, "broken image")


def test_where_sets_cannot_be_skipped_the_error_names_set_and_image(sets: ImageSets) -> None:
    with pytest.raises(UnreadableMember, match=r", image 2 \(store-.*/6\): of unknown format; put the image") as raised:
        read_members(MemberImages(sets), sets[3])
    again = pickle.loads(pickle.dumps(raised.value))  # errors of DataLoader workers are pickled
    assert (str(again), again.skipped) == (str(raised.value), raised.value.skipped)
