"""The index job: both modalities, resumed without building again, the same files from workers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import jobs.index_job
import jobs.shared_storage
from index.errors import BadInput, OutputExists, StoreInvalid
from index.graph.build import IndexConfig
from index.graph.machine import SERVER, read_machine
from index.graph.search_index import open_index
from index.lease import only_writer
from index.store.embedding_store import EmbeddingStore
from jobs.index_job import run_index
from retrieval.search.retriever import Retriever
from tests.folders import file_bytes, file_times
from tests.index.vectors import clustered, vector_store
from tests.retrieval.stores import make_store, random_unit


def test_both_modalities_are_indexed_and_a_second_run_builds_nothing(store: Path) -> None:
    config = IndexConfig(str(store), shard_rows=11, queries=10)
    summaries = run_index(config)
    assert [(summary.modality, summary.rows, summary.shards) for summary in summaries] == [
        ("image", 33, 3),
        ("text", 33, 3),
    ]
    before = file_times(store / "index")
    again = run_index(config)
    assert [summary.recall for summary in again] == [summary.recall for summary in summaries]
    assert {name: time for name, time in file_times(store / "index").items() if name.endswith(".faiss")} == {
        name: time for name, time in before.items() if name.endswith(".faiss")
    }
    scores, rows = open_index(EmbeddingStore.open(store), "text").search(
        EmbeddingStore.open(store).gather("text", [5]).astype(np.float32), 1
    )
    assert scores[0, 0] > 0.99
    assert rows.shape == (1, 1)


def test_where_nothing_is_left_to_build_no_cluster_is_asked(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(jobs.shared_storage, "_check", lambda out, executor, workers: asked.append(executor))
    run_index(IndexConfig(str(store), shard_rows=11, queries=10))
    assert asked == []
    run_index(IndexConfig(str(store)), executor="ray")
    assert asked == []


def test_the_machine_is_measured_once_with_a_large_store_and_plans_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path, random_unit(40))
    config = IndexConfig(str(store.path), queries=10)
    run_index(config)
    assert read_machine(store, "image") == SERVER, "a small store is not worth it"
    monkeypatch.setattr(jobs.index_job, "LEAST_ROWS", 40)
    run_index(config)
    rates = read_machine(store, "image")
    assert rates.processor
    run_index(config)
    assert read_machine(store, "image") == rates
    assert Retriever(store).plan("image", 3, 5).why.endswith(f"by rates measured on {rates.processor}")


def test_a_store_without_texts_gets_an_image_index_only(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(40))
    (summary,) = run_index(IndexConfig(str(store.path), queries=10))
    assert summary.modality == "image"
    with pytest.raises(BadInput):
        run_index(IndexConfig(str(store.path), queries=10), "text")


def test_workers_build_the_shards_too(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(store, other)
    for place, workers in ((store, None), (other, 2)):
        run_index(IndexConfig(str(place), shard_rows=11, queries=10), "image", workers=workers)
    assert file_times(store / "index").keys() == file_times(other / "index").keys()
    queries = EmbeddingStore.open(store).gather("text", [3, 17]).astype(np.float32)
    one, two = (open_index(EmbeddingStore.open(place), "image").search(queries, 5)[0] for place in (store, other))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)  # builds of another number of threads may differ in links


def test_workers_group_rows_by_meaning_into_the_same_files(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = vector_store(tmp_path / "first", *clustered(600))
    places = [first.path, *(tmp_path / name for name in ("workers", "ray"))]
    for place in places[1:]:
        shutil.copytree(first.path, place)
    request.getfixturevalue("ray_up")
    for place, (executor, workers) in zip(places, (("local", None), ("local", 2), ("ray", 2)), strict=True):
        config = IndexConfig(str(place), shard_rows=200, layout="meaning", queries=20)
        (summary,) = run_index(config, "image", executor=executor, workers=workers)
        assert (summary.shards, summary.indexed) == (3, 600)
    assert file_bytes(places[0] / "index") == file_bytes(places[1] / "index") == file_bytes(places[2] / "index")
    assert run_index(IndexConfig(str(places[0])), "image")[0].shards == 3


def test_two_jobs_never_write_in_a_store_at_once(store: Path) -> None:
    with (
        only_writer(str(store)),
        pytest.raises(OutputExists, match=r"store: another process is writing there \(.*run `clipmine index` again"),
    ):
        run_index(IndexConfig(str(store), queries=10), "image")
    assert not (store / "index").exists()
    run_index(IndexConfig(str(store), queries=10), "image")
    assert not [path for path in store.iterdir() if path.name.startswith(".writer")]


def test_a_store_that_is_none_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="no such store"):
        run_index(IndexConfig(str(tmp_path / "nothing")))
    assert not list(tmp_path.iterdir())


def test_a_store_without_rows_is_one_clear_line(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(1)[:0])
    with pytest.raises(StoreInvalid, match="has no rows to index"):
        run_index(IndexConfig(str(store.path)))


def test_a_changed_byte_of_a_shard_is_found_and_mended(store: Path) -> None:
    config = IndexConfig(str(store), shard_rows=11, queries=10)
    run_index(config, "image")
    graph = sorted((store / "index" / "image").glob("*.faiss"))[1]
    data = graph.read_bytes()
    graph.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    run_index(config, "image")
    assert graph.read_bytes() != data  # a file of the right size is not read
    run_index(config, "image", checksums=True)
    assert graph.read_bytes() == data


def test_an_unknown_modality_is_refused(store: Path) -> None:
    with pytest.raises(BadInput, match="unknown modality 'sound': choose one of image, text, both"):
        run_index(IndexConfig(str(store)), "sound")
