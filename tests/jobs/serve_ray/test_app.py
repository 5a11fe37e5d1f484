"""The application: its config file, its settings, and the front's answers over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from index.errors import BadInput, StoreInvalid
from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.app import ServeArgs, build
from retrieval.service.settings import Settings
from tests.jobs.serve_ray.asking import TEXTS, ask_local, found_rows, search


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


def test_unknown_settings_of_a_config_file_are_named(sharded_store: EmbeddingStore) -> None:
    args = ServeArgs(store=str(sharded_store.path), settings={"max_kk": 5})
    with pytest.raises(BadInput, match="no field 'max_kk'; the fields are tokens, "):
        build(args)


def test_ranges_of_replicas_reach_serve(sharded_store: EmbeddingStore) -> None:
    ranges: dict[str, Any] = {
        f"{kind}_autoscaling_config": {"max_replicas": most}
        for kind, most in (("encoder", 2), ("shard", 3), ("front", 4))
    }
    application: Any = build(ServeArgs(store=str(sharded_store.path), **ranges))
    front = application._bound_deployment
    made = [front, front.init_args[2]._bound_deployment, *(shard._bound_deployment for shard in front.init_args[3])]
    found = {one.name: one._deployment_config.autoscaling_config for one in made}
    assert {name: (config.max_replicas, config.target_ongoing_requests) for name, config in found.items()} == {
        "front": (4, 128),
        "encoders": (2, 32),
        "shards-0": (3, 2),
        "shards-1": (3, 2),
    }


def test_a_wrong_range_of_a_config_file_is_one_line(sharded_store: EmbeddingStore) -> None:
    for field, value, message in (
        (
            "shard_autoscaling_config",
            {"max_replica": 2},
            "shard_autoscaling_config: no field 'max_replica'; the fields",
        ),
        ("shard_replicas", 2, "shard_autoscaling_config and shard_replicas: give one of them"),
    ):
        given: dict[str, Any] = {"shard_autoscaling_config": {"max_replicas": 2}, field: value}
        with pytest.raises(BadInput, match=message):
            build(ServeArgs(store=str(sharded_store.path), **given))


def test_the_example_config_file_is_one_that_serve_takes() -> None:
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
    from ray.serve.schema import ServeDeploySchema

    plain = yaml.safe_load((Path(__file__).parents[3] / "docs" / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(plain).applications
    assert application.import_path == "jobs.serve_ray.start:build"
    # Serve reads `build`'s annotation to make its arguments. The file's reach it, and name no store that is here.
    with pytest.raises(StoreInvalid, match="/data/STORE"):
        call_user_app_builder_with_args_if_necessary(build, application.args)  # type: ignore[arg-type]


def test_the_default_number_of_groups_is_two_or_what_the_index_allows(
    sharded_store: EmbeddingStore, small_store: EmbeddingStore
) -> None:
    def groups(store: EmbeddingStore, count: int | None = None) -> int:
        arguments: Any = build(ServeArgs(store=str(store.path), shard_groups=count))._bound_deployment.init_args
        return len(arguments[3])

    assert groups(sharded_store) == groups(small_store) == 2
    assert groups(sharded_store, 3) == 3
    with pytest.raises(BadInput, match="shard groups 4"):
        groups(sharded_store, 4)


def test_settings_of_a_config_file_become_those_of_the_service(sharded_store: EmbeddingStore) -> None:
    args = ServeArgs(store=str(sharded_store.path), name="ours", settings={"max_k": 5, "cors_origins": ["http://a.b"]})
    arguments: Any = build(args)._bound_deployment.init_args
    assert arguments[1] == Settings(name="ours", max_k=5, cors_origins=("http://a.b",))
