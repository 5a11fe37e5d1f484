"""Captions that fit their images: every third caption of the store says nothing, and takes part in no pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import in_process
from mining.strategies.minable import Minable
from mining.strategies.neighbors import caption_fit as module
from mining.strategies.neighbors.caption_fit import (
    EQUAL_CAPTIONS,
    ClosePairs,
    caption_fit,
    close_captions,
    fit_floor,
    fitting,
)
from mining.strategies.neighbors.similarity import similarities
from tests.mining.conftest import mining_context
from tests.mining.worlds import subject


def close(world: EmbeddingStore, folder: Path) -> ClosePairs:
    ctx = mining_context(world, folder, "diverse")
    return close_captions(ctx, in_process(ctx), Minable(world), np.arange(world.rows), 16)


def test_the_fit_is_the_cosine_of_image_and_caption(world: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 50)
    rows = np.array([5, 3, 200, 7, 7] * 30)
    image, text = (world.gather(each, rows).astype(np.float64) for each in ("image", "text"))
    np.testing.assert_allclose(caption_fit(world, rows), (image * text).sum(axis=1), atol=1e-5)


def test_the_floor_is_the_median_of_the_store(world: EmbeddingStore) -> None:
    floor = fit_floor(Minable(world), np.random.default_rng(0))
    assert floor == pytest.approx(float(np.median(caption_fit(world, np.arange(world.rows)))), abs=0.001)
    assert fit_floor(Minable(world, np.empty(0, np.int64)), np.random.default_rng(0)) == 0


def test_a_pair_fits_when_both_of_its_captions_do(world: EmbeddingStore) -> None:
    fit = caption_fit(world, np.arange(world.rows))
    floor = float(np.median(fit))
    pairs = np.random.default_rng(0).integers(0, world.rows, (200, 2))
    expected = (fit[pairs] >= floor).all(axis=1)
    assert 10 < expected.sum() < 190
    assert (fitting(world, pairs, floor) == expected).all()


def test_close_captions_are_of_one_subject_and_none_says_nothing(world: EmbeddingStore, tmp_path: Path) -> None:
    found = close(world, tmp_path)
    assert len(found.rows) > 20
    assert all(subject(a) == subject(b) for a, b in found.rows.tolist())
    assert not (found.rows % 3 == 0).any()  # "click to enlarge"
    np.testing.assert_allclose(found.text_sim, similarities(world, "text", found.rows), atol=1e-5)
    assert (found.text_sim >= found.floor).all()
    assert (found.text_sim < EQUAL_CAPTIONS).all()


def test_every_pair_looked_at_is_found_or_dropped_for_a_reason(world: EmbeddingStore, tmp_path: Path) -> None:
    found = close(world, tmp_path)
    assert found.looked_at == len(found.rows) + sum(found.dropped.values())
    assert "captions fit their images from cosine" in found.how
