"""Encoder replicas: a dead one is replaced; a store without a model has none."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.groups import plan_groups
from jobs.serve_ray.replicas import Encoders, Refusal, Shards
from retrieval.service.settings import Settings
from tests.jobs.serve_ray.asking import found_rows, handle, search
from tests.retrieval.stores import make_store, random_unit


@pytest.fixture
def threads() -> Iterator[int]:
    """The number of threads of this process, which a replica sets, as it was before."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["hnsw", "exact"])
def test_a_shard_finds_its_own_rows_only(method: str, sharded_store: EmbeddingStore, threads: int) -> None:
    first, second = plan_groups(sharded_store, 2)
    vectors = sharded_store.gather("image", [3, 20]).astype(np.float32)
    for group, own in ((first, range(11)), (second, range(11, 33))):
        shards = Shards(str(sharded_store.path), group, threads, "cpu")
        answer = asyncio.run(shards.search(vectors, "image", 5, method, np.array([own[0]])))
        assert not isinstance(answer, Refusal)
        scores, rows = answer
        assert scores.shape == rows.shape == (2, 5)
        assert set(rows.ravel().tolist()) <= set(own) - {own[0]}


def test_what_a_shard_raises_comes_back_as_data(sharded_store: EmbeddingStore, threads: int) -> None:
    shards = Shards(str(sharded_store.path), plan_groups(sharded_store, 1)[0], threads, "cpu")
    wrong: Any = "sound"
    answer = asyncio.run(shards.search(np.zeros((1, 16), np.float32), wrong, 5, "exact"))
    assert isinstance(answer, Refusal)
    assert answer.kind == "KeyError"


def test_a_store_without_a_known_model_refuses_texts_and_images(tmp_path: Path, threads: int) -> None:
    store = make_store(tmp_path, random_unit(4))
    encoders = Encoders(str(store.path), Settings(), threads, "cpu")
    for answer in (asyncio.run(encoders.encode_texts(["a"])), asyncio.run(encoders.encode_images([b""]))):
        assert isinstance(answer, Refusal)
        assert answer.kind == "BadInput"
        assert str(store.path) in answer.message
    assert asyncio.run(encoders.ping()) == os.getpid()


def test_a_killed_encoder_makes_texts_wait_or_come_back_later_until_it_is_replaced(url: str) -> None:
    whole = found_rows(search(url).json())
    killed = handle("encoders").ping.remote().result()
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 300
    while (response := search(url)).status_code != 200:
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert time.monotonic() < deadline, "the killed replica was not replaced"
    assert found_rows(response.json()) == whole
    assert handle("encoders").ping.remote().result() != killed
