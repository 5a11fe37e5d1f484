"""The backend on Ray answers as one process does, and names the groups that did not answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from index.errors import BadInput
from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.backend import RayBackend
from retrieval.service.app import create_app
from retrieval.service.backend import Unavailable
from retrieval.service.generations import generation_name
from tests.index.vectors import build as build_index
from tests.jobs.serve_ray.asking import FIRST, TEXTS, ask_backend, ask_local, found_rows, handle, search
from tests.retrieval.stores import jpeg


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize(("method", "k"), [("hnsw", 5), ("hnsw", 33), ("exact", 5), ("exact", 33)])
def test_answers_are_those_of_one_process(
    url: str, sharded_store: EmbeddingStore, modality: Any, method: str, k: int
) -> None:
    vectors = sharded_store.gather("text", np.arange(20)).astype(np.float32)
    exclude = np.array([3, 25])
    ray = ask_backend(sharded_store, lambda backend: backend.search(vectors, modality, k, method, exclude))
    local = ask_local(sharded_store, lambda backend: backend.search(vectors, modality, k, method, exclude))
    assert np.array_equal(ray.row_ids, local.row_ids)
    assert np.allclose(ray.scores, local.scores, atol=1e-6)
    assert ray.missing == ()
    assert ray.plan.startswith(f"{method} in each of 2 groups of shards: ")


def test_texts_and_images_are_encoded_as_in_one_process(url: str, sharded_store: EmbeddingStore) -> None:
    ray = ask_backend(sharded_store, lambda backend: backend.encode_texts([*TEXTS, "word " * 100]))
    local = ask_local(sharded_store, lambda backend: backend.encode_texts([*TEXTS, "word " * 100]))
    # Encoders on Ray use one thread, which may change the last bit.
    np.testing.assert_allclose(ray.vectors, local.vectors, rtol=0, atol=1e-3)
    assert ray.cut == [False] * 4 + [True]
    images = ask_backend(sharded_store, lambda backend: backend.encode_images([jpeg(1), jpeg(2)]))
    assert images.shape == (2, 16)


def test_an_image_that_cannot_be_used_is_a_bad_input_with_its_place(url: str, sharded_store: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match=r"^image 1: cannot be used"):
        ask_backend(sharded_store, lambda backend: backend.encode_images([jpeg(1), b"no image"]))


def test_indexes_and_plans_are_described_as_in_one_process(url: str, sharded_store: EmbeddingStore) -> None:
    async def described(backend: Any) -> Any:
        return backend.indexes(), (await backend.plan("image", 1, 5, "hnsw")).method, await backend.ready()

    assert ask_backend(sharded_store, described) == ask_local(sharded_store, described)


def right_for_who_answered(rows: list[list[int]], missing: Sequence[str], whole: list[list[int]]) -> bool:
    """Whether the rows, all of the store's, are those of the groups that are not named."""
    skipped = set()
    for name in missing:
        assert name in (f"shards-0 (rows 0-{FIRST - 1})", f"shards-1 (rows {FIRST}-32)")
        skipped |= set(range(FIRST)) if name.startswith("shards-0") else set(range(FIRST, 33))
    return rows == [[row for row in best if row not in skipped] for best in whole]


def test_a_killed_shard_is_named_in_the_answers_until_it_is_replaced(url: str, sharded_store: EmbeddingStore) -> None:
    whole = found_rows(search(url, k=33).json())
    killed = handle("shards-1").ping.remote().result()
    os.kill(killed, signal.SIGKILL)

    async def until_missing(backend: RayBackend) -> None:
        app = httpx.ASGITransport(create_app(backend))
        async with httpx.AsyncClient(transport=app, base_url="http://localhost", timeout=60) as http:
            while True:
                request = {"queries": [{"text": text} for text in TEXTS], "k": 33, "method": "exact"}
                response = await http.post("/search", json=request)
                if response.status_code == 503:  # a machine so busy that the other group is late as well
                    assert int(response.headers["retry-after"]) > 0
                    continue
                answer = response.raise_for_status().json()
                assert answer["partial"] == bool(answer["missing"])
                assert right_for_who_answered(found_rows(answer), answer["missing"], whole)
                if f"shards-1 (rows {FIRST}-32)" in answer["missing"]:
                    return

    # No replica starts within so short a deadline.
    ask_backend(sharded_store, until_missing, seconds=0.3)
    deadline = time.monotonic() + 300
    while (answer := search(url, k=33).json())["partial"]:
        assert time.monotonic() < deadline, "the killed replica was not replaced"
    assert found_rows(answer) == whole
    assert answer["missing"] == []
    assert handle("shards-1").ping.remote().result() != killed


def test_a_newer_index_is_served_without_a_restart(url: str, sharded_store: EmbeddingStore) -> None:
    """In the end the first index is built again, to the same bytes."""

    def generation() -> str:
        return str(httpx.get(f"{url}/indexes", timeout=60).json()["generation"])

    def build(rows: int) -> None:
        build_index(IndexConfig(str(sharded_store.path), "image", shard_rows=rows, queries=10))

    def wait_until_served() -> str:
        deadline = time.monotonic() + 120
        while (now := generation()) != generation_name(sharded_store):
            assert time.monotonic() < deadline, "the newer index was not opened"
            assert not search(url).json()["partial"]
            time.sleep(0.2)
        return now

    before, whole = generation(), found_rows(search(url, k=33, method="hnsw").json())
    try:
        for rows in (33, 8):  # one shard for two groups, five shards
            build(rows)
            assert wait_until_served() != before
            answer = search(url, k=33, method="hnsw").json()
            assert found_rows(answer) == whole
            assert not answer["partial"]
    finally:
        build(11)
    assert wait_until_served() == before


def test_a_store_of_another_model_or_that_no_replica_can_open_stays_as_it_was(
    url: str, sharded_store: EmbeddingStore, tmp_path: Path
) -> None:
    shutil.copytree(sharded_store.path, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")

    async def newer(backend: RayBackend) -> None:
        assert await backend.newer() is None
        manifest = json.loads((store.path / "manifest.json").read_text())
        (store.path / "manifest.json").write_text(json.dumps(manifest, indent=4))
        # The replicas are of the store that this one was copied from.
        with pytest.raises(Unavailable, match=r"is asked for, and .* is on the disk"):
            await backend.newer()
        manifest["model"]["weights"] = "others"
        (store.path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BadInput, match="was embedded with another model since; deploy the service again"):
            await backend.newer()

    ask_backend(store, newer)
