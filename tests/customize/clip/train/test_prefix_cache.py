"""The cache of the frozen prefix: the tower's output from cached activations, shared parts, and resuming."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from customize.clip.model_folder import LoadedModel
from customize.clip.train import prefix_cache
from customize.clip.train.distributed import Worker
from customize.clip.train.image_inputs import decode_row
from customize.clip.train.pairs import Pairs
from customize.clip.train.prefix_cache import CachedPrefix, build_prefix, can_cache_prefix, prefix_bytes, prefix_fits
from tests.customize.clip.tiny_models import RESNET, TIMM, clip
from tests.customize.clip.train.runs import broken_pairs


def build(pairs: Pairs, loaded: LoadedModel, folder: Path, worker: Worker) -> list[tuple[int, int]]:
    """Cache the first block's output; the progress that was reported."""
    seen: list[tuple[int, int]] = []
    build_prefix(pairs, loaded.model, loaded.preprocess, 1, str(folder), "cpu", worker, lambda *done: seen.append(done))
    return seen


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 10 pairs and batches of 4, so that 33 pairs have several of each."""
    monkeypatch.setattr(prefix_cache, "PART", 10)
    monkeypatch.setattr(prefix_cache, "BATCH", 4)


@pytest.mark.usefixtures("small_parts")
def test_the_rest_of_the_tower_gives_the_features_of_the_whole(
    pairs: Pairs, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    assert build(pairs, tiny_model, tmp_path, Worker())[-1] == (33, 33)
    cached = CachedPrefix(pairs, str(tmp_path), 1)
    assert cached.kind == "cached activations of the first 1 blocks"
    rows = (0, 9, 10, 32)
    states = torch.stack([cached.load(row, 0)[1] for row in rows])
    assert (states.shape, states.dtype) == ((4, 17, 32), torch.float16)
    images = torch.stack([tiny_model.preprocess(decode_row(pairs, row)[1]) for row in rows])
    with torch.no_grad():
        whole = tiny_model.model.encode_image(images)
        torch.testing.assert_close(cached.features(tiny_model.model, states), whole, atol=1e-2, rtol=0)  # float16


@pytest.mark.usefixtures("small_parts")
def test_workers_compute_different_parts_and_only_missing_ones(
    pairs: Pairs, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    build(pairs, tiny_model, tmp_path, Worker(1, 2))
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["prefix_00001.json", "prefix_00003.json"]
    first = build(pairs, tiny_model, tmp_path, Worker(0, 2))
    assert first[-1] == (20, 20)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert build(pairs, tiny_model, tmp_path, Worker()) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    (tmp_path / "prefix_00002.json").unlink()  # as a kill leaves it
    assert build(pairs, tiny_model, tmp_path, Worker())[-1][1] == 33
    assert np.load(tmp_path / "prefix_00002.npy").shape == (10, 17, 32)


def test_a_row_with_a_broken_image_has_the_next_rows_activations(tiny_model: LoadedModel, tmp_path: Path) -> None:
    pairs = broken_pairs(tmp_path, {2}, 6)
    build(pairs, tiny_model, tmp_path, Worker())
    cached = CachedPrefix(pairs, str(tmp_path), 1)
    assert [cached.load(row, 0)[0] for row in range(6)] == [0, 1, 3, 3, 4, 5]
    # The same image at another place of the batch: equal to the rounding of float16.
    torch.testing.assert_close(cached.load(2, 0)[1], cached.load(3, 0)[1], atol=1e-2, rtol=0)


def test_only_frozen_blocks_of_open_clips_transformer_can_be_cached() -> None:
    assert can_cache_prefix(clip(), 1)
    assert not can_cache_prefix(clip(), 0)
    assert not can_cache_prefix(clip(RESNET), 1)
    assert not can_cache_prefix(clip(TIMM), 1)


def test_what_the_cache_takes_counts_as_free(
    pairs: Pairs, tiny_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = prefix_bytes(tiny_model.model, len(pairs))
    build(pairs, tiny_model, tmp_path, Worker())
    assert (tmp_path / "prefix_00000.npy").stat().st_size == pytest.approx(size, abs=200)  # and a header
    # Before the cache was written, twice its size was free.
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=size))
    assert prefix_fits(tiny_model.model, len(pairs), str(tmp_path))
    (tmp_path / "prefix_00000.npy").unlink()
    assert not prefix_fits(tiny_model.model, len(pairs), str(tmp_path))


def test_a_part_whose_states_were_deleted_is_computed_again(
    pairs: Pairs, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    build(pairs, tiny_model, tmp_path, Worker())
    (tmp_path / "prefix_00000.npy").unlink()
    build(pairs, tiny_model, tmp_path, Worker())
    assert CachedPrefix(pairs, str(tmp_path), 1).load(5, 0)[1].shape == (17, 32)


def test_the_cache_must_fit_into_half_of_the_free_disk(tmp_path: Path) -> None:
    assert prefix_fits(clip(), 33, str(tmp_path))
    assert not prefix_fits(clip(), 10**15, str(tmp_path))
