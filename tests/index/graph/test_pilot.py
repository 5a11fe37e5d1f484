"""The pilot measures each codec on the store, and the first that fits and reaches the recall is built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import pytest

from index.errors import BadInput, StoreInvalid
from index.graph.build import IndexConfig
from index.graph.capacity import index_bytes
from index.graph.codecs import CODEC_NAMES
from index.graph.hnsw import HnswSpec, build_graph
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.info import store_info
from index.graph.pilot import Pilot, choose_by_pilot, read_pilot, run_pilot
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import build, clustered, vector_store

ROWS = 2_500


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """Not indexed; shared, do not change it."""
    return vector_store(tmp_path_factory.mktemp("pilot"), *clustered(ROWS, dim=64))


def test_each_codec_is_measured_and_the_first_that_fits_is_chosen(store: EmbeddingStore) -> None:
    memory = index_bytes(ROWS, 64, "sq4")
    pilot = run_pilot(store, "image", memory=memory, recall=0.9, rows=1_500)
    assert [each.codec for each in pilot.codecs] == list(CODEC_NAMES)
    assert [each.fits for each in pilot.codecs] == [False, False, True, True]
    assert all(each.recall >= 0.9 and each.queries_per_second > 0 < each.build_rows_per_second for each in pilot.codecs)
    assert (pilot.chosen, pilot.store_rows) == ("sq4", ROWS)
    assert pilot.rows < 1_500  # rows drawn twice count once
    again = run_pilot(store, "image", memory=memory, recall=0.9, rows=1_500)
    assert [(each.recall, each.ef_search) for each in again.codecs] == [
        (each.recall, each.ef_search) for each in pilot.codecs
    ]
    head, *_, last = pilot.table()
    assert head.split()[:3] == ["codec", "index", "fits"]
    assert last.startswith("* fits 760 kB and reaches recall@10 0.9; on")


@pytest.mark.parametrize(
    ("memory", "recall", "codec", "why"),
    [
        (10**9, 1.0, None, "no codec that fits 1.0 GB reaches recall@10 1; the best of them"),
        (100_000, 0.5, "rabitq", "no codec fits 100 kB; the smallest, of which searches read parts from disk"),
    ],
)
def test_what_nothing_reaches_is_said(
    store: EmbeddingStore, memory: int, recall: float, codec: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.graph.pilot.EF_SEARCH", (1,))  # a recall of 1 is out of reach
    pilot = run_pilot(store, "image", memory=memory, recall=recall, M=4, ef_construction=4, rows=1_500)
    if codec is None:
        best = max(each.recall for each in pilot.codecs)
        assert next(each.recall for each in pilot.codecs if each.codec == pilot.chosen) == best
        assert best < 1
    else:
        assert pilot.chosen == codec
    assert pilot.why == why


def test_a_pilot_runs_where_fp16_does_not_fit_and_stays_in_the_index(tmp_path: Path) -> None:
    store = vector_store(tmp_path, *clustered(ROWS, dim=64))
    plenty = IndexConfig(str(store.path), recall=0.9, queries=50)
    assert choose_by_pilot(plenty) == plenty
    little = replace(plenty, memory=index_bytes(ROWS, 64, "sq8"))
    chosen = choose_by_pilot(little)
    assert chosen.codec == "sq8"
    kept = read_pilot(store, "image")
    assert choose_by_pilot(little) == chosen
    assert read_pilot(store, "image") == kept  # not measured again
    assert build(chosen).codec == "sq8"
    manifest = read_index_manifest(index_folder(store, "image"))
    assert manifest is not None
    assert manifest.pilot is not None
    assert Pilot.from_json(manifest.pilot) == kept
    assert read_pilot(store, "image") is None
    assert store_info(str(store.path)).indexes[0].pilot[0].startswith("codec")
    later = IndexConfig(str(store.path))
    assert choose_by_pilot(later) == later
    assert build(later).codec == "sq8"
    again = read_index_manifest(index_folder(store, "image"))
    assert again == manifest
    assert choose_by_pilot(replace(later, memory=10**9), always=True).codec == "fp16"


def test_a_codec_that_is_given_is_built_and_one_that_faiss_lacks_is_named(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = IndexConfig(str(store.path), memory=900_000, codec="sq4")
    assert choose_by_pilot(given) == given
    monkeypatch.delattr(faiss, "IndexIVFRaBitQ")
    pilot = run_pilot(store, "image", memory=800_000, recall=0.9, rows=300)
    assert pilot.codecs[-1].missing is not None
    assert any("needs a newer faiss" in line for line in pilot.table())
    assert pilot.chosen == "sq4"


def test_shards_with_captions_are_measured_as_they_are_built(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.graph.query_captions._LEAST_ROWS", ROWS)
    fitted: list[int] = []

    def noted(blocks: Iterable[Any], sample: Any, captions: Iterable[Any], spec: HnswSpec) -> Any:
        fitted.append(sum(len(block) for block in captions))
        return build_graph(blocks, sample, spec)

    monkeypatch.setattr("index.graph.vectors_index.build_query_graph", noted)
    run_pilot(store, "image", memory=10**9, recall=0.9, rows=ROWS + 1)
    assert fitted == [ROWS - len(range(0, ROWS, 8))] * 2  # fp16 and sq8; sq4 has the links of fp16


def test_stores_and_memory_that_allow_no_pilot(tmp_path: Path, store: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match="too little to build an index"):
        choose_by_pilot(IndexConfig(str(store.path), memory=1_000))
    image, text = clustered(20)
    image[:] = 0
    empty = vector_store(tmp_path, image, text)
    with pytest.raises(StoreInvalid, match="has no usable image vector"):
        run_pilot(empty, "image", memory=10**9, recall=0.9)
