"""Costs are those of faiss's files, and sizes are read and shown in people's units."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from index.graph.capacity import (
    Codec,
    build_bytes,
    choose_codec,
    choose_shard_rows,
    index_bytes,
    plan_capacity,
    row_bytes,
)
from index.graph.inverted_lists import list_count
from index.graph.rates import Rates
from index.sizes import parse_bytes
from tests.index.graph.test_hnsw import graph_of
from tests.index.vectors import clustered


def test_400_million_rows_need_what_faiss_needs() -> None:
    plan = plan_capacity(400_000_000, 512, parse_bytes("64GB"), cores=16)
    assert plan.sizes["fp32"] == pytest.approx(925e9, rel=0.01)
    assert plan.sizes["fp16"] == pytest.approx(515e9, rel=0.01)
    assert plan.sizes["sq8"] == pytest.approx(310e9, rel=0.02)
    assert plan.sizes["sq4"] == pytest.approx(211e9, rel=0.01)
    assert plan.sizes["rabitq"] == pytest.approx(33e9, rel=0.03)
    assert (plan.codec, plan.shards, plan.fits) == ("rabitq", 40, True)
    assert plan_capacity(400_000_000, 512, parse_bytes("256GB")).codec == "sq4"
    assert not plan_capacity(400_000_000, 512, parse_bytes("16GB")).fits
    assert plan.build_memory <= plan.memory


def test_a_row_takes_the_bytes_that_a_file_has(tmp_path: Path) -> None:
    from index.graph.hnsw import write_graph

    image, _ = clustered(5_000)
    write_graph(graph_of(image), tmp_path / "graph")
    assert (tmp_path / "graph").stat().st_size == pytest.approx(5_000 * row_bytes(32, "fp16"), rel=0.02)


@pytest.mark.parametrize("dim", [64, 512])
@pytest.mark.parametrize("rows", [4_000, 20_000])
def test_inverted_lists_take_the_bytes_that_a_file_has(rows: int, dim: int, tmp_path: Path) -> None:
    from index.graph.hnsw import write_graph
    from index.graph.inverted_lists import build_lists

    image, _ = clustered(rows, dim)
    write_graph(build_lists([image], image[::10], rows), tmp_path / "lists")
    lists = min(list_count(rows), len(image[::10]))
    extra = list_count(rows) - lists  # fewer were learned here
    size = (tmp_path / "lists").stat().st_size + extra * (4 * dim + 144)
    assert size == pytest.approx(index_bytes(rows, dim, "rabitq"), rel=0.05)


def test_the_largest_codec_that_fits_is_chosen() -> None:
    codecs: tuple[Codec, ...] = ("fp16", "sq8", "sq4", "rabitq")
    sizes = [index_bytes(1_000_000, 512, codec) for codec in codecs]
    assert sizes == sorted(sizes, reverse=True)
    assert [choose_codec(1_000_000, 512, size) for size in sizes] == list(codecs)
    assert [choose_codec(1_000_000, 512, size - 1) for size in sizes] == [*codecs[1:], "rabitq"]


def test_a_shard_can_be_built_within_the_memory() -> None:
    rows = choose_shard_rows(512, "fp16", 1_000_000_000)
    assert 2 * rows * row_bytes(512, "fp16") <= 1_000_000_000
    for codec in ("fp16", "sq8", "sq4", "rabitq"):
        rows = choose_shard_rows(512, codec, 1_000_000_000)
        assert build_bytes(rows, 512, codec) <= 1_000_000_000 < build_bytes(rows + 1, 512, codec)
        assert choose_shard_rows(512, codec, 10**15) == 10_000_000


def test_too_little_memory_says_how_much_is_needed() -> None:
    with pytest.raises(BadInput, match=r"--memory 1.0 MB is too little to build an index: give at least 1.6 MB"):
        plan_capacity(1_000, 512, 1_000_000)


@pytest.mark.parametrize(("rows", "dim", "M"), [(0, 512, 32), (10, 0, 32), (10, 512, 2)])
def test_impossible_numbers_are_refused(rows: int, dim: int, M: int) -> None:
    with pytest.raises(BadInput):
        plan_capacity(rows, dim, 10**9, M)


def test_the_table_names_every_cost() -> None:
    table = plan_capacity(20_000, 512, parse_bytes("16GB")).table()
    for name in ("embeddings", "index, fp16", "shards", "memory to build", "memory to serve", "time to build", "disk"):
        assert f"\n{name}" in table
    assert "(chosen)" in table
    assert "--layout meaning" not in table  # of one shard


def test_the_table_says_what_the_layout_by_meaning_costs_more() -> None:
    table = plan_capacity(400_000_000, 512, parse_bytes("64GB")).table()
    assert "--layout meaning  2.4 GB of lists more; each worker keeps 10.2 GB of vectors" in table


def test_rates_of_a_machine_decide_hours_and_queries() -> None:
    rates = Rates("fp16", 64, 32, (1_000, 10_000), (1.0, 10.0), (1_000.0, 1_000.0))
    plan = plan_capacity(20_000_000, 64, 10**15, cores=4, rates=rates)
    assert plan.shards == 2
    assert plan.queries_per_second == pytest.approx(2_000)
    assert plan.build_core_hours == pytest.approx(20_000 / 3_600)
    assert plan.rebuild_bytes == plan.disk_bytes + plan.serve_memory
