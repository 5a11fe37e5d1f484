"""Encoder replicas: a dead one is replaced; a store without a model has none."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from index.errors import BadInput, StoreInvalid
from index.graph.build import IndexConfig
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.groups import Group, plan_groups
from jobs.serve_ray.replicas import Encoders, Refusal, Shards, _Opened
from retrieval.service.settings import Settings
from tests.index.vectors import build
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
        shards = Shards(str(sharded_store.path), group.number, 2, threads, "cpu")
        answer = asyncio.run(shards.search(group, vectors, "image", 5, method, np.array([own[0]])))
        assert not isinstance(answer, Refusal)
        scores, rows, replica = answer
        assert replica == asyncio.run(shards.open(group))
        assert scores.shape == rows.shape == (2, 5)
        assert set(rows.ravel().tolist()) <= set(own) - {own[0]}


def test_what_a_shard_raises_comes_back_as_data(sharded_store: EmbeddingStore, threads: int) -> None:
    shards = Shards(str(sharded_store.path), 0, 1, threads, "cpu")
    wrong: Any = "sound"
    answer = asyncio.run(
        shards.search(plan_groups(sharded_store, 1)[0], np.zeros((1, 16), np.float32), wrong, 5, "exact")
    )
    assert isinstance(answer, Refusal)
    assert answer.kind == "KeyError"


def test_a_shard_opens_newer_generations_and_keeps_the_one_before(
    tmp_path: Path, sharded_store: EmbeddingStore, threads: int
) -> None:
    shutil.copytree(sharded_store.path, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")
    vectors = store.gather("image", [3, 20]).astype(np.float32)
    shards = Shards(str(store.path), 1, 2, threads, "cpu")
    spare = Shards(str(store.path), 7, 2, threads, "cpu")  # has no rows

    def rows(group: Group, of: Shards = shards, method: str = "hnsw") -> Any:
        answer = asyncio.run(of.search(group, vectors, "image", 40, method))
        return answer if isinstance(answer, Refusal) else set(answer[1].ravel().tolist()) - {-1}

    generations = [plan_groups(store, 2)[1]]
    for size in (4, 5):
        build(IndexConfig(str(store.path), "image", shard_rows=size, queries=10))
        newer = plan_groups(store, 2)[1]
        assert isinstance(asyncio.run(shards.open(newer)), str)
        assert [rows(each) for each in (generations[-1], newer)] == [
            set(range(each.parts["image"].start, 33)) for each in (generations[-1], newer)
        ]
        generations.append(newer)
    assert rows(generations[0]) == Refusal(
        "StoreInvalid",
        f"{store.path}: generation {generations[0].generation} is asked for, and {newer.generation} is on the disk",
    )
    assert rows(newer, spare, "exact") == rows(newer)


def test_searches_go_on_while_another_generation_is_opened(
    sharded_store: EmbeddingStore, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (group,) = plan_groups(sharded_store, 1)
    shards = Shards(str(sharded_store.path), 0, 1, threads, "cpu")
    vectors = sharded_store.gather("image", [3]).astype(np.float32)
    opening, go_on = threading.Event(), threading.Event()

    def slow(path: str, asked: Group) -> Any:
        opening.set()
        assert go_on.wait(60)
        raise StoreInvalid("another one")

    monkeypatch.setattr("jobs.serve_ray.replicas._Opened.open", slow)

    async def both() -> None:
        newer = [asyncio.create_task(shards.open(replace(group, generation=name))) for name in ("b", "c", "d")]
        await asyncio.to_thread(opening.wait, 60)
        assert not isinstance(await shards.search(group, vectors, "image", 5, "hnsw"), Refusal)
        go_on.set()
        assert all(isinstance(answer, Refusal) for answer in await asyncio.gather(*newer))

    asyncio.run(both())


def test_the_generation_in_use_stays_open_whatever_else_is_opened(
    sharded_store: EmbeddingStore, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (group,) = plan_groups(sharded_store, 1)
    shards = Shards(str(sharded_store.path), 0, 1, threads, "cpu")
    opened = shards._opened[group.generation]
    monkeypatch.setattr("jobs.serve_ray.replicas._Opened.open", lambda path, asked: opened)
    vectors = sharded_store.gather("image", [3]).astype(np.float32)
    for name in ("b", "c", "d"):
        assert isinstance(asyncio.run(shards.open(replace(group, generation=name))), str)
        asyncio.run(shards.search(group, vectors, "image", 5, "hnsw"))
        assert list(shards._opened) == [name, group.generation]


def test_a_build_that_ends_while_shards_are_opened_is_noticed(
    tmp_path: Path, sharded_store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sharded_store.path, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")
    (group,) = plan_groups(store, 1)

    def ends(*arguments: Any) -> Any:
        found = open_index(*arguments)
        build(IndexConfig(str(store.path), "text", shard_rows=5, queries=10))
        return found

    monkeypatch.setattr("jobs.serve_ray.replicas.open_index", ends)
    with pytest.raises(StoreInvalid, match="is asked for, and"):
        _Opened.open(str(store.path), group)


def test_a_store_without_a_known_model_refuses_texts_and_images(tmp_path: Path, threads: int) -> None:
    store = make_store(tmp_path, random_unit(4))
    with pytest.raises(BadInput, match="was embedded with another model since; deploy the service again"):
        Encoders(str(store.path), Settings(), threads, "cpu", {"weights": "others"})
    encoders = Encoders(str(store.path), Settings(), threads, "cpu", store.fingerprint)
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
