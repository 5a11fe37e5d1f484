"""Near-duplicates of stores count as one image; what has no vector is said."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import mining.sets.near_images
from index.duplicates.near_duplicates import near_duplicate_groups
from index.duplicates.segments import DuplicatesConfig
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining import ImageSets
from mining.sets.near_images import join_near_images
from mining.sets.same_image import images_of
from mining.sets.sources import store_source
from mining.sets.store_members import members_table
from mining.sets.write_sets import ImageSetsWriter
from tests.index.duplicates.test_segments import find_groups
from tests.mining.made_sets import sets_table, write_foreign_sets, write_sets
from tests.retrieval.stores import MODEL, forget, make_store, random_unit, unit

HALVES = {"a": 0.5, "b": 0.5}


def twins(count: int, seed: int = 0) -> npt.NDArray[np.float16]:
    """Vectors [2 * count, 32] of which 2n and 2n + 1 have a cosine of about 0.99, others below 0.8."""
    wide = np.repeat(np.random.default_rng(seed).normal(size=(count, 32)), 2, axis=0)
    return unit(wide + 0.05 * np.random.default_rng(seed + 1).normal(size=wide.shape))


def joined(sets: ImageSets, threshold: float = 0.94, **more: object) -> tuple[list[int], tuple[str, ...]]:
    images, _, members = images_of(sets._layout, sets.numbers)
    found = join_near_images(images, members, sets.sources, sets.path, threshold, **more)  # type: ignore[arg-type]
    return found.images.tolist(), found.notes


def test_images_above_the_cosine_are_one_and_chains_of_them_too(tmp_path: Path) -> None:
    angles = np.array([0.0, 0.2, 0.4, 1.2, 2.5])  # cosines 0.98 of neighbours, 0.92 of the ends of the chain
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    sets = write_sets(tmp_path, [[0, 3], [1, 4], [2, 0]], store=make_store(tmp_path, vectors))
    images, notes = joined(sets, 0.95)
    assert images == [0, 1, 0, 3, 0, 0]
    assert notes == (
        "5 images were compared: those with a cosine of 0.95 or more count as one; the largest group of them has 3, "
        "groups in all: 1",
    )
    assert joined(sets, 0.999) == (
        [0, 1, 2, 3, 4, 0],
        ("5 images were compared: no two have a cosine of 0.999 or more",),
    )


def test_stored_groups_change_nothing_and_a_chain_through_an_image_of_no_set_joins_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    angles = np.array([0.0, 0.2, 0.4, 1.2, 2.5, 1.3])
    store = make_store(tmp_path, unit(np.stack([np.cos(angles), np.sin(angles)], axis=1)))
    assert find_groups(DuplicatesConfig(str(store.path), 0.95)).largest == 3
    grouped = partial(near_duplicate_groups, exact=1)
    monkeypatch.setattr(mining.sets.near_images, "near_duplicate_groups", grouped)
    sets = write_sets(tmp_path, [[0, 3], [2, 4], [5, 0]], store=store)
    assert joined(sets, 0.95)[0] == [0, 1, 2, 3, 1, 0]


def test_no_near_duplicates_are_in_two_splits(tmp_path: Path) -> None:
    """Each image has a twin in another set; by files alone half of the twins are parted."""
    store = make_store(tmp_path, twins(80), parts=3)
    order = np.random.default_rng(3).permutation(80)
    rows = [[2 * int(one), 2 * int(other) + 1] for one, other in zip(order, np.roll(order, 1), strict=True)]
    sets = write_sets(tmp_path, rows, store=store)

    def parted(near_duplicates: float | None) -> int:
        split = sets.split(HALVES, 0, near_duplicates)
        assert sum(split.counts().values()) == 80
        assert min(split.counts()[name] for name in HALVES) > 20
        sides = [{row // 2 for each in part for row in each.rows if row is not None} for part in split.values()]
        return len(sides[0] & sides[1])

    assert parted(None) > 10
    assert parted(0.94) == 0


def test_the_order_of_the_sets_does_not_change_the_splits(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[at, 39 - at] for at in range(20)], store=make_store(tmp_path, twins(20)))
    splits = [{each.set_id for each in view.split(HALVES)["a"]} for view in (sets, sets[::-1])]
    assert splits[0] == splits[1]


def test_a_store_that_cannot_be_opened_is_said_and_its_files_are_compared(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 2], [1, 3]], store=make_store(tmp_path, twins(2)))
    assert joined(sets)[0] == [0, 1, 0, 1]
    shutil.move(tmp_path / "store", tmp_path / "elsewhere")
    images, notes = joined(sets)
    assert images == [0, 1, 2, 3]
    assert len(notes) == 2
    assert "were not looked for, since it cannot be opened" in notes[0]
    assert notes[1] == "4 images have no vector at hand; of these only equal files count as one"
    (name,) = sets.sources
    assert joined(sets, moved={name: tmp_path / "elsewhere"})[0] == [0, 1, 0, 1]
    assert joined(sets, moved=tmp_path / "elsewhere")[0] == [0, 1, 0, 1]
    assert "cannot be opened" in repr(sets.split(HALVES))
    assert "cannot be opened" not in repr(sets.split(HALVES, moved=tmp_path / "elsewhere"))


def test_one_path_for_no_store_or_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has 0 stores \(none\), so .* must come with the name of one"):
        write_foreign_sets(tmp_path, [["a.jpg"]]).split(HALVES, moved=tmp_path)


def test_images_of_two_stores_of_one_model_are_compared(tmp_path: Path) -> None:
    """The second store has near-duplicates of the first; a third is of another model, with the same vectors."""
    vectors = twins(6)
    stores = [
        make_store(tmp_path / "one", vectors[0::2], parts=1),
        make_store(tmp_path / "two", vectors[1::2], parts=2),
        make_store(tmp_path / "three", vectors[0::2], parts=3, model={**MODEL, "weights": "x"}),
    ]
    sets = joined_folder(tmp_path / "all", stores, [[0, 1], [2, 3]])
    images, notes = joined(sets)
    assert images == [0, 1, 2, 3, 0, 1, 2, 3, *images[8:]]
    assert not set(images[8:]) & {0, 1, 2, 3}
    assert notes[0].startswith("12 images were compared")


def joined_folder(out: Path, stores: Sequence[EmbeddingStore], rows: list[list[int]]) -> ImageSets:
    writer, sources = ImageSetsWriter(out), []
    for number, store in enumerate(stores):
        source = store_source(store, out)
        sets = sets_table(rows, source.name)
        lists = pa.array(rows)
        # Each store has files of its own.
        members = members_table(store, source.name, sets["set_id"], lists)
        hashes = [f"{number}-{value}" for value in members["sha256"].to_pylist()]
        place = members.column_names.index("sha256")
        writer.add(sets, members.set_column(place, "sha256", pa.array(hashes)))
        sources.append(source)
    return writer.finish(sources, {})


def test_equal_files_stay_one_image_beside_near_duplicates(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["b.jpg"], []])
    images, notes = joined(sets)
    assert images == [0, 1, 1]
    assert notes == ("2 images have no vector at hand; of these only equal files count as one",)


def test_forgotten_rows_are_close_to_none(tmp_path: Path) -> None:
    store = make_store(tmp_path, twins(2))
    sets = write_sets(tmp_path, [[0, 2], [1, 3]], store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [1])
    assert joined(sets)[0] == [0, 1, 2, 1]


@pytest.mark.parametrize("near_duplicates", [0.0, -0.5, 1.5])
def test_a_cosine_that_is_none_is_refused(tmp_path: Path, near_duplicates: float) -> None:
    sets = write_sets(tmp_path, [[0, 1]], store=make_store(tmp_path, random_unit(2)))
    with pytest.raises(BadInput, match="a cosine above 0 and up to 1"):
        sets.split(HALVES, 0, near_duplicates)
