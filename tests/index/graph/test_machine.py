"""Rates of the machine are measured with a real index, kept beside it, and used on the same kind of processor only."""

from __future__ import annotations

import dataclasses
import json

import pytest

import index.graph.machine as machine
from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.graph.machine import SERVER, measure_machine, read_machine, write_machine
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import clustered, vector_store


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    store = vector_store(tmp_path_factory.mktemp("machine"), clustered(1_500)[0])
    config = IndexConfig(str(store.path), queries=20)
    for item in plan_index_items(config):
        build_index_item(item, config)
    finish_index(config)
    return store


def test_measured_rates_are_written_and_read(indexed: EmbeddingStore) -> None:
    assert read_machine(indexed, "image") == SERVER
    rates = measure_machine(indexed, "image")
    assert min(rates.walk_seconds, rates.walk_per_ef, rates.flops, rates.scan_bytes) > 0
    assert rates.processor
    assert rates.walk(10**6, 512, 200) > rates.walk(10**6, 512, 100) > rates.walk(10**5, 512, 100) > 0
    write_machine(indexed, "image", rates)
    assert read_machine(indexed, "image") == rates


def test_rates_of_another_processor_are_not_used(indexed: EmbeddingStore) -> None:
    write_machine(indexed, "image", dataclasses.replace(SERVER, flops=1.0, processor="another"))
    assert read_machine(indexed, "image") == SERVER


@pytest.mark.parametrize("change", [{"flops": 0}, {"walk_seconds": None}, {"keep_seconds": -1}, {"disk": 3}])
def test_damaged_rates_are_not_used(indexed: EmbeddingStore, change: dict[str, object]) -> None:
    write_machine(indexed, "image", dataclasses.replace(SERVER, processor=machine.processor()))
    path = indexed.path / "index" / "image.machine.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert read_machine(indexed, "image") == SERVER
    for text in ("{", "[]", json.dumps({**dataclasses.asdict(SERVER), "flops": 10**400})):
        path.write_text(text)
        assert read_machine(indexed, "image") == SERVER
    path.unlink()
    path.mkdir()
    try:
        assert read_machine(indexed, "image") == SERVER
    finally:
        path.rmdir()
    assert read_machine(indexed, "image") == SERVER


def test_a_longer_candidate_list_never_costs_less() -> None:
    for taken in ([1.0, 2.0, 9.0], [1.0, 4.0, 5.0], [3.0, 2.0, 1.0]):
        square, slope, base = machine._fit(taken)
        assert min(square, slope, base) >= 0
    square, slope, base = machine._fit([1e-4 + 2e-6 * ef + 3e-9 * ef**2 for ef in machine._EFS])
    assert [square, slope, base] == pytest.approx([3e-9, 2e-6, 1e-4])
