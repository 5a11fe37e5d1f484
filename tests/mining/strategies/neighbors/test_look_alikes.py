"""The window of look-alikes, its bands, and nearly identical pairs above it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import in_process
from mining.strategies.neighbors import look_alikes
from mining.strategies.neighbors.look_alikes import (
    NEAR_IDENTICAL,
    Window,
    difficulty_of,
    drop_copies,
    find_look_alikes,
    look_alike_window,
    pixels_said,
    similarity_reasons,
)
from scenes.drawing.render import render
from scenes.world.sample import sample
from tests.mining.conftest import mining_context
from tests.retrieval.stores import make_store, unit

# What an edit changes.
BOX = (50, 30, 90, 70)


def drawn(edited: bool = False, quality: int = 95) -> bytes:
    image = Image.fromarray(render(sample("corpus", 7), 256).image)
    if edited:
        image.paste((220, 20, 20), BOX)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@pytest.fixture
def copies_and_edits(tmp_path: Path) -> EmbeddingStore:
    """Rows 0 and 1 are one file, 2 is the same picture compressed again, 3 an edit of it, 4 is broken; 5 to 10 are
    look-alikes, and 11 is alone."""
    rng = np.random.default_rng(1)
    base, other = rng.normal(size=(2, 64))
    near = base + 0.01 * rng.normal(size=(5, 64))
    alike = other + 0.5 * rng.normal(size=(6, 64))
    files = [drawn(), drawn(), drawn(quality=60), drawn(edited=True), b"broken"]
    return make_store(
        tmp_path, unit(np.concatenate([near, alike, rng.normal(size=(1, 64))])), images=[*files, *[drawn()] * 7]
    )


def test_without_a_lifted_ceiling_near_duplicates_are_counted_only(
    copies_and_edits: EmbeddingStore, tmp_path: Path
) -> None:
    ctx = mining_context(copies_and_edits, tmp_path, "similar")
    found = find_look_alikes(ctx, in_process(ctx), 100, 8)
    assert found.dropped["near-duplicates"] == 10  # of five rows
    assert found.looked_at == 12 * 8 == len(found.pairs) + sum(found.dropped.values())
    assert "ceiling 0.940: near-duplicates begin there" in found.notes[1]
    assert set(found.pairs.level.tolist()) <= {1, 2, 3, 4}
    assert ((found.pairs.similarity >= found.window.floor) & (found.pairs.similarity < found.window.ceiling)).all()


def test_a_ceiling_below_near_duplicates_says_what_it_is(copies_and_edits: EmbeddingStore, tmp_path: Path) -> None:
    ctx = mining_context(copies_and_edits, tmp_path, "similar", near_duplicates=1.01)
    found = find_look_alikes(ctx, in_process(ctx), 100, 8)
    assert found.window.ceiling < 1.01
    assert found.notes[1].endswith("the 99th percentile of the similarity to the nearest other picture")


def test_the_held_out_side_takes_the_window_of_the_training_side(
    copies_and_edits: EmbeddingStore, tmp_path: Path
) -> None:
    ctx = replace(mining_context(copies_and_edits, tmp_path, "similar"), measured={"floor": 0.5, "ceiling": 0.9})
    found = find_look_alikes(ctx, in_process(ctx), 100, 8)
    assert found.window == Window(0.5, 0.9)
    assert found.measured["floor"] == 0.5
    assert "limits and levels are those of the training side" in found.notes


def test_of_nearly_identical_pairs_only_edits_are_kept(copies_and_edits: EmbeddingStore, tmp_path: Path) -> None:
    ctx = mining_context(copies_and_edits, tmp_path, "similar", ceiling=1.0)
    found = find_look_alikes(ctx, in_process(ctx), 100, 8)
    pairs, kept, dropped = drop_copies(ctx, in_process(ctx), found.pairs)
    near = pairs.take(kept[pairs.level[kept] == NEAR_IDENTICAL])
    assert near.rows.tolist() == [[0, 3], [1, 3], [2, 3]]
    assert dropped == {
        "nearly identical, the same bytes": 1,
        "nearly identical, an image that cannot be read": 4,
        "nearly identical, the same picture": 2,
    }
    assert len(kept) == len(found.pairs) - sum(dropped.values())
    reason = similarity_reasons(near, found.window)[0].as_py()
    assert "of the picture differs" in reason
    where = pixels_said(near)[0]["pixels"]
    assert 0.01 < where["share"] < 0.1
    assert where["box"] == pytest.approx([each / 256 for each in BOX], abs=0.06)
    assert pixels_said(pairs.take(np.flatnonzero(pairs.level < NEAR_IDENTICAL)))[0] == {}


def test_only_so_many_nearly_identical_pairs_are_decoded(
    copies_and_edits: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_alikes, "CHECKED_A_SET", 1)
    ctx = mining_context(copies_and_edits, tmp_path, "similar", wanted=3, ceiling=1.0)
    found = find_look_alikes(ctx, in_process(ctx), 100, 8)
    _, _, dropped = drop_copies(ctx, in_process(ctx), found.pairs)
    assert dropped["nearly identical, more than needed"] == 7


def test_a_lifted_ceiling_lies_above_near_duplicates(copies_and_edits: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--ceiling is a cosine above --near-duplicates \(0.94\)"):
        mining_context(copies_and_edits, tmp_path, "similar", ceiling=0.9)


def test_the_more_similar_the_more_difficult() -> None:
    assert difficulty_of(np.array([1, 2, 5], np.int32)).tolist() == pytest.approx([0.2, 0.4, 1.0])


def test_the_window_begins_where_three_in_four_have_a_look_alike() -> None:
    similarity = np.array([[0.99, 0.8], [0.7, 0.6], [0.9, 0.5], [0.6, 0.4]], np.float32)
    window = look_alike_window(similarity, 0.94)
    assert window.ceiling == 0.94
    assert window.floor == pytest.approx(np.quantile([0.8, 0.7, 0.9, 0.6], 0.25), abs=1e-3)
    assert look_alike_window(np.empty((0, 2), np.float32), 0.94).floor == 0.94
