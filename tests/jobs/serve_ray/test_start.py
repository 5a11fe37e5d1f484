"""The service on a real Ray: two groups of shards, one replica each, an encoder and a front."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, StoreInvalid
from index.graph.build import IndexConfig
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.serve_ray.backend import RayBackend
from jobs.serve_ray.groups import Part, plan_groups
from jobs.serve_ray.start import APP, ServeArgs, build, run_serve_ray, start
from retrieval.service.app import create_app
from retrieval.service.local_backend import LocalBackend
from retrieval.service.settings import Settings
from tests.conftest import embed_store
from tests.index.vectors import build as build_index
from tests.retrieval.stores import jpeg

TEXTS = ["a red circle", "a blue square", "nothing of the kind", "a green circle"]
FIRST = 11  # rows of the first of two groups


@pytest.fixture(scope="session")
def sharded_store(tiny_clip_dir: Path, small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """33 rows; indexes of 3 shards of 11 rows: two groups have 1 and 2, rows 0-10 and 11-32."""
    config = EmbedConfig(
        source=str(small_corpus),
        out=str(tmp_path_factory.mktemp("sharded") / "store"),
        model=ModelSpec(model_dir=str(tiny_clip_dir)),
        device="cpu",
    )
    store = embed_store(config)
    remember_model(store.path, config.model)
    for modality in ("image", "text"):
        build_index(IndexConfig(str(store.path), modality, shard_rows=11, queries=10))
    return EmbeddingStore.open(store.path)


@pytest.fixture(scope="module")
def url(ray_up: None, sharded_store: EmbeddingStore) -> Iterator[str]:
    """The service's address."""
    from ray import serve

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    args = ServeArgs(
        store=str(sharded_store.path),
        shard_groups=2,
        encoder_cpus=0.1,
        shard_cpus=0.1,
        front_cpus=0.1,
        deadline_seconds=20,
        settings={"queue": 100},
    )
    start(args, "127.0.0.1", port)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()  # type: ignore[no-untyped-call]


def handle(deployment: str) -> Any:
    from ray import serve

    return serve.get_deployment_handle(deployment, APP)


def ask_backend(store: EmbeddingStore, question: Callable[[RayBackend], Any], seconds: float = 20) -> Any:
    """What a backend of this process answers over the replicas."""

    async def ask() -> Any:
        groups = plan_groups(store, 2)
        backend = RayBackend(
            store, groups, handle("encoders"), [handle(group.deployment) for group in groups], seconds=seconds
        )
        try:
            return await question(backend)
        finally:
            await backend.close()

    return asyncio.run(ask())


def ask_local(store: EmbeddingStore, question: Callable[[LocalBackend], Any]) -> Any:
    async def ask() -> Any:
        backend = LocalBackend(store)
        try:
            return await question(backend)
        finally:
            await backend.close()

    return asyncio.run(ask())


def search(url: str, **more: Any) -> httpx.Response:
    request = {"queries": [{"text": text} for text in TEXTS], "k": 8, "method": "exact", **more}
    return httpx.post(f"{url}/search", json=request, timeout=120)


def found_rows(answer: dict[str, Any]) -> list[list[int]]:
    return [[row["row_id"] for row in result["rows"]] for result in answer["results"]]


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
    assert np.array_equal(ray.vectors, local.vectors)
    assert ray.cut == [False] * 4 + [True]
    images = ask_backend(sharded_store, lambda backend: backend.encode_images([jpeg(1), jpeg(2)]))
    assert images.shape == (2, 16)


def test_an_image_that_cannot_be_used_is_a_bad_input_with_its_place(url: str, sharded_store: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match=r"^image 1: cannot be used"):
        ask_backend(sharded_store, lambda backend: backend.encode_images([jpeg(1), b"no image"]))


def test_indexes_and_plans_are_described_as_in_one_process(url: str, sharded_store: EmbeddingStore) -> None:
    async def described(backend: Any) -> Any:
        return backend.indexes(), backend.plan("image", 1, 5, "hnsw"), await backend.ready()

    assert ask_backend(sharded_store, described) == ask_local(sharded_store, described)


def test_the_front_answers_over_http_and_reads_rows_from_the_store(url: str, sharded_store: EmbeddingStore) -> None:
    answer = search(url).raise_for_status().json()
    assert not answer["partial"]
    vectors = ask_local(sharded_store, lambda backend: backend.encode_texts(TEXTS)).vectors
    local = ask_local(sharded_store, lambda backend: backend.search(vectors, "image", 8, "exact"))
    assert found_rows(answer) == local.row_ids.tolist()
    row = answer["results"][0]["rows"][0]
    assert row["caption"] == sharded_store.metadata([row["row_id"]], ["caption"])["caption"][0].as_py()
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert httpx.get(f"{url}/rows/{row['row_id']}/image").headers["content-type"] == "image/jpeg"


def test_requests_at_the_same_time_are_all_answered(url: str) -> None:
    expected = found_rows(search(url).json())
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: search(url), range(64)))
    assert all(answer.status_code == 200 for answer in answers)
    assert all(found_rows(answer.json()) == expected for answer in answers)


def right_for_who_answered(rows: list[list[int]], missing: Sequence[str], whole: list[list[int]]) -> bool:
    """Whether the rows, all of the store's, are those of the groups that are not named."""
    left_out = set()
    for name in missing:
        assert name in (f"shards-0 (rows 0-{FIRST - 1})", f"shards-1 (rows {FIRST}-32)")
        left_out |= set(range(FIRST)) if name.startswith("shards-0") else set(range(FIRST, 33))
    return rows == [[row for row in best if row not in left_out] for best in whole]


def test_a_killed_shard_is_named_in_the_answers_until_it_is_replaced(url: str, sharded_store: EmbeddingStore) -> None:
    whole = found_rows(search(url, k=33).json())
    killed = handle("shards-1").ping.remote().result()
    os.kill(killed, signal.SIGKILL)

    async def until_missing(backend: RayBackend) -> None:
        app = httpx.ASGITransport(create_app(backend))
        async with httpx.AsyncClient(transport=app, base_url="http://front", timeout=60) as http:
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


def test_a_port_that_is_taken_is_said_before_ray_starts(sharded_store: EmbeddingStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"127\.0\.0\.1:{port}: cannot be listened on .*choose another --port"):
            run_serve_ray(sharded_store, Settings(), "127.0.0.1", port)


def test_a_store_is_cut_at_its_index_shards(sharded_store: EmbeddingStore) -> None:
    two = plan_groups(sharded_store, 2)
    assert [group.parts["image"] for group in two] == [Part(0, 11, (0,)), Part(11, 33, (1, 2))]
    assert [group.parts["text"].shards for group in plan_groups(sharded_store, 3)] == [(0,), (1,), (2,)]
    with pytest.raises(BadInput, match=r"shard groups 4: .* can be cut into 1 to 3"):
        plan_groups(sharded_store, 4)


def test_rows_without_an_index_are_cut_evenly(small_store: EmbeddingStore) -> None:
    assert [group.parts["image"] for group in plan_groups(small_store, 2)] == [Part(0, 16), Part(16, 33)]


def test_unknown_settings_of_a_config_file_are_named(sharded_store: EmbeddingStore) -> None:
    args = ServeArgs(store=str(sharded_store.path), settings={"max_kk": 5})
    with pytest.raises(BadInput, match=re.escape("'max_kk'; the fields are tokens, ")):
        build(args)


def test_the_example_config_file_is_one_that_serve_takes() -> None:
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
    from ray.serve.schema import ServeDeploySchema

    plain = yaml.safe_load((Path(__file__).parents[3] / "docs" / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(plain).applications
    assert application.import_path == "jobs.serve_ray.start:build"
    # Serve reads `build`'s annotation to make its arguments. The file's reach it, and name no store that is here.
    with pytest.raises(StoreInvalid, match="/data/STORE"):
        call_user_app_builder_with_args_if_necessary(build, application.args)  # type: ignore[arg-type]
