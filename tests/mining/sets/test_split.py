from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets.split import STRADDLING, Split, short_splits, split_sets
from tests.mining.made_sets import many_pairs, write_foreign_sets, write_sets
from tests.retrieval.stores import make_store, random_unit

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def images_of(sets: ImageSets) -> set[str | None]:
    return {member.sha256 for each in sets for member in each.members}


def assert_no_image_is_in_two_splits(split: Split[ImageSets]) -> None:
    seen = [images_of(sets) for sets in split.values()]
    assert sum(len(images) for images in seen) == len(set().union(*seen))


def test_pairs_that_share_nothing_are_cut_by_the_shares(tmp_path: Path) -> None:
    split = write_sets(tmp_path, [[2 * at, 2 * at + 1] for at in range(100)], images=200).split(
        SHARES, near_duplicates=None
    )
    assert split.counts() == {"train": 80, "val": 10, "test": 10, "straddling": 0}
    assert_no_image_is_in_two_splits(split)
    assert list(split) == ["train", "val", "test"]
    assert repr(split).splitlines() == [
        "Split(train: 80, val: 10, test: 10, straddling: 0)",
        "- only equal files count as one image; near-duplicates may be in two splits",
    ]


def test_a_giant_component_is_cut_and_what_straddles_is_counted(tmp_path: Path) -> None:
    """400 images in 1,200 pairs by chance: all hang together, 6 pairs an image."""
    sets = write_sets(tmp_path, many_pairs(400, 1_200), images=400)
    split = sets.split(SHARES, near_duplicates=None)
    counts = split.counts()
    assert sum(counts.values()) == 1_200
    assert_no_image_is_in_two_splits(split)
    assert 0 < counts["straddling"] < 600
    assert counts["train"] > 400
    assert min(counts["val"], counts["test"]) > 4


def test_a_split_that_is_far_from_its_share_is_named(tmp_path: Path) -> None:
    """Every pair has image 0, so all images hang together and one split gets nearly all sets."""
    split = write_sets(tmp_path, [[0, other] for other in range(1, 101)], images=101).split(
        {"train": 0.8, "test": 0.2}, near_duplicates=None
    )
    counts = split.counts()
    assert counts["test"] < 10
    assert split.notes[1:] == (
        f"test has {counts['test']} sets instead of 20: too many sets share images, or near-duplicates, with sets of "
        f"other splits ({counts['straddling']} sets straddle). To get the share, hold images out before mining: "
        "clipmine mine --hold-out SHARE",
    )


def test_a_split_is_named_below_half_of_its_share_only() -> None:
    assert short_splits({"train": 85, "test": 10, "straddling": 5}, {"train": 0.8, "test": 0.2}) == ()
    [note] = short_splits({"train": 85, "test": 9, "straddling": 6}, {"train": 0.8, "test": 0.2})
    assert note.startswith("test has 9 sets instead of 20")
    assert short_splits({"train": 3, "test": 0, "straddling": 0}, {"train": 0.9, "test": 0.1}) == ()


def test_a_chain_is_cut_where_few_pairs_are_lost(tmp_path: Path) -> None:
    split = write_sets(tmp_path, [[at, at + 1] for at in range(399)], images=400).split(
        {"train": 0.9, "test": 0.1}, near_duplicates=None
    )
    counts = split.counts()
    assert_no_image_is_in_two_splits(split)
    assert counts["straddling"] <= 16  # a cluster is 10 images, a test split of 40 has four: two ends each, at most
    assert 25 <= counts["test"] <= 50


def test_sets_of_more_than_two_stay_whole(tmp_path: Path) -> None:
    stories = [[5 * at + place for place in range(5)] for at in range(20)]
    split = write_sets(tmp_path, stories, images=100).split({"train": 0.5, "test": 0.5}, near_duplicates=None)
    assert split.counts() == {"train": 10, "test": 10, "straddling": 0}
    assert all(each.size == 5 for part in split.values() for each in part)


def test_equal_bytes_under_two_row_ids_are_one_image(tmp_path: Path) -> None:
    """Rows 2n and 2n + 1 are the same file, and chain the pairs: by row id alone they would share nothing."""
    hashes = [hashlib.sha256(str(row // 2).encode()).hexdigest() for row in range(80)]
    store = make_store(tmp_path, random_unit(80), sha256=hashes)
    sets = write_sets(tmp_path, [[2 * at + 1, 2 * at + 2] for at in range(39)], store=store)
    split = sets.split({"train": 0.5, "test": 0.5}, near_duplicates=None)
    assert_no_image_is_in_two_splits(split)
    assert split.counts()["straddling"] > 0


def test_unknown_hashes_make_nothing_one(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(20), sha256=[None] * 20)
    sets = write_sets(tmp_path, [[2 * at, 2 * at + 1] for at in range(10)], store=store)
    assert sets.split({"a": 0.5, "b": 0.5}, near_duplicates=None).counts() == {"a": 5, "b": 5, "straddling": 0}


def test_the_same_seed_gives_the_same_splits_in_whatever_order_the_sets_come(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, many_pairs(300, 300), images=300)
    splits = [
        {name: {each.set_id for each in part} for name, part in view.split(SHARES, seed, None).items()}
        for view, seed in ((sets, 1), (sets, 1), (sets[::-1], 1), (sets, 2))
    ]
    assert splits[0] == splits[1] == splits[2]
    assert splits[0] != splits[3]


def test_a_split_of_a_view_holds_its_sets_alone(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[2 * at, 2 * at + 1] for at in range(40)], images=80, level=[0, 1] * 20)
    split = sets.filter(level=1).split({"train": 0.5, "test": 0.5}, near_duplicates=None)
    assert split.counts() == {"train": 10, "test": 10, "straddling": 0}
    assert {each.level for part in split.values() for each in part} == {1}


def test_a_set_straddles_exactly_when_its_images_are_in_different_splits() -> None:
    """400 images in 1,200 pairs at random: sets tie all images together, so some straddle."""
    pairs = np.array(many_pairs(400, 1_200))
    found = split_sets(pairs.ravel(), np.repeat(np.arange(1_200), 2), 1_200, SHARES)
    split_of = np.full(400, -9)
    for place in range(len(SHARES)):
        images = np.unique(pairs[found == place])
        assert (split_of[images] == -9).all()
        split_of[images] = place
    straddling = split_of[pairs[found == STRADDLING]]
    known = (straddling >= 0).all(axis=1)
    assert known.sum() > 20
    assert (straddling[known, 0] != straddling[known, 1]).all()


@pytest.mark.parametrize("near_duplicates", [0.94, None])
def test_sets_of_no_image_and_of_one_are_cut_by_the_shares_too(tmp_path: Path, near_duplicates: float | None) -> None:
    """A set of text alone has no image that could be in two splits."""
    names = [[] if at % 2 else [f"{at}.jpg"] for at in range(40)]
    sets = write_foreign_sets(tmp_path, names)
    for view in (sets, sets[::-1], sets.filter(size=0), sets.filter(size=1)):
        split = view.split({"train": 0.5, "test": 0.5}, near_duplicates=near_duplicates)
        assert split.counts() == {"train": len(view) // 2, "test": len(view) // 2, "straddling": 0}
    splits = [{each.set_id for each in view.split({"a": 0.3, "b": 0.7})["a"]} for view in (sets, sets[::-1])]
    assert splits[0] == splits[1]


def test_a_set_that_is_twice_in_a_view_is_on_one_side(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[2 * at, 2 * at + 1] for at in range(4)]).select([0, 1, 2, 3, 0, 1])
    split = sets.split({"a": 0.5, "b": 0.5}, near_duplicates=None)
    assert sum(split.counts().values()) == 6
    assert_no_image_is_in_two_splits(split)


def test_a_set_without_an_image_is_the_callers_to_solve() -> None:
    with pytest.raises(ValueError, match="a set has no image"):
        split_sets(np.array([0, 1]), np.array([0, 2]), 3, SHARES)


def test_no_sets_are_in_no_split() -> None:
    nothing = np.empty(0, np.int64)
    assert split_sets(nothing, nothing, 0, SHARES).tolist() == []


@pytest.mark.parametrize("shares", [{}, {"train": 1.1}, {"a": 0.5}, {"a": 1.0, "b": 0.0}, {"straddling": 1.0}])
def test_shares_that_do_not_add_up_are_an_error(tmp_path: Path, shares: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="adding up to 1"):
        write_sets(tmp_path, [[0, 1]]).split(shares)
