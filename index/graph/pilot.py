"""A pilot: every codec that an index may have, measured on a sample of the store, so that the right one is built.

Rows of the store are sampled, each codec is built over them as it would be over a shard, and searched with captions of
the store that are not among those that links are fitted to. Of the codecs whose whole index fits the memory and that
reach the recall asked for, the first is chosen: the less a codec rounds, the fewer rows a search reads from the store.
Recall, and so the choice, do not depend on the machine; rates do. The sample has fewer rows than the store, where the
same efSearch finds less: the recall contract is measured again on the index that was built.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, StoreInvalid
from index.files import read_bytes, remove, write_atomic
from index.graph.capacity import build_bytes, index_bytes
from index.graph.codecs import CODEC_NAMES, CodecName, check_codec, is_rounded, least_candidates
from index.graph.exact import exact_top_k
from index.graph.hnsw import HnswSpec, search_graph, usable_rows
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.query_captions import QUERY_STEP, has_query_links, query_step
from index.graph.recall import EF_SEARCH, recall_at, sample_queries
from index.graph.recipe import IndexConfig, choose_recipe
from index.graph.vectors_index import build_in_memory
from index.sizes import show_bytes
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["PILOT_ROWS", "Pilot", "PilotRow", "choose_by_pilot", "drop_pilot", "read_pilot", "run_pilot"]

Floats = npt.NDArray[np.float32]

# 20,000 x 512 take one core half a minute, all codecs together.
PILOT_ROWS, PILOT_QUERIES = 20_000, 500
_K = 10
_NAME = "pilot.json"


@dataclass(frozen=True)
class PilotRow:
    """One codec on the sample.

    Attributes:
        size: bytes of the whole index of the store, by the layout of the files.
        build_memory: bytes that building a shard of the recipe's, or of the whole store, takes.
        fits: whether `size` is within the memory.
        ef_search: the least one that reaches the recall asked for, or the best one.
        recall: recall@10 there.
        queries_per_second: of one thread or more (`Pilot.threads`) there, with all vectors in memory.
        build_rows_per_second: rows added in a second by so many threads.
        missing: why the codec was not measured, None if it was.
    """

    codec: CodecName
    size: int
    build_memory: int
    fits: bool
    ef_search: int = 0
    recall: float = 0.0
    queries_per_second: float = 0.0
    build_rows_per_second: float = 0.0
    missing: str | None = None


@dataclass(frozen=True)
class Pilot:
    """What was measured, on how many rows and queries, with how many threads, and which codec was chosen."""

    store_rows: int
    rows: int
    dim: int
    M: int
    ef_construction: int
    queries: int
    seed: int
    memory: int
    recall: float
    threads: int
    codecs: tuple[PilotRow, ...]
    chosen: CodecName
    why: str

    def table(self) -> list[str]:
        """The pilot as aligned lines."""
        head = ("codec", "index", "fits", "recall@10", "efSearch", "queries/s", "rows/s built")
        body = [
            (
                each.codec + " *" * (each.codec == self.chosen),
                show_bytes(each.size),
                "yes" if each.fits else "no",
                *(
                    (each.missing, "", "", "")
                    if each.missing is not None
                    else (
                        f"{each.recall:.3f}",
                        f"{each.ef_search}",
                        f"{each.queries_per_second:,.0f}",
                        f"{each.build_rows_per_second:,.0f}",
                    )
                ),
            )
            for each in self.codecs
        ]
        widths = [max(len(row[place]) for row in (head, *body)) for place in range(len(head))]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (head, *body)
        ]
        threads = f"{self.threads} thread" + "s" * (self.threads > 1)
        measured = f"on {self.rows:,} of {self.store_rows:,} rows, {self.queries:,} queries, {threads}"
        return [*(line.rstrip() for line in lines), f"* {self.why}; {measured}"]

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Pilot:
        """A pilot from its JSON data; TypeError or KeyError for another format."""
        return cls(**{**plain, "codecs": tuple(PilotRow(**each) for each in plain["codecs"])})


def choose_by_pilot(
    config: IndexConfig, *, always: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> IndexConfig:
    """The config with the codec that a pilot chooses; the config as it is where none is needed.

    None is needed where an index is there or a codec is given, and where the whole index fits the memory in fp16, which
    no other codec is better than. The pilot is kept in the index's folder until the index is finished: a build that was
    killed goes on with the same codec.

    Args:
        always: run a pilot in any case. A codec that is given is built nevertheless.

    Raises:
        BadInput, StoreInvalid: as `index.graph.build.plan_index_items`.
    """
    store = EmbeddingStore.open(config.store)
    try:
        earlier = read_index_manifest(index_folder(store, config.modality))
    except StoreInvalid:
        earlier = None  # damaged; it is written again
    recipe = choose_recipe(config, store, earlier)
    if not always and (earlier is not None or config.codec is not None or recipe.spec.codec == CODEC_NAMES[0]):
        return config
    pilot, spec = read_pilot(store, config.modality), recipe.spec
    wanted = (store.rows, spec.M, spec.ef_construction, recipe.seed, recipe.memory, recipe.recall)
    if pilot is None or wanted != (
        pilot.store_rows,
        pilot.M,
        pilot.ef_construction,
        pilot.seed,
        pilot.memory,
        pilot.recall,
    ):
        pilot = run_pilot(
            store,
            config.modality,
            memory=recipe.memory,
            recall=recipe.recall,
            M=spec.M,
            ef_construction=spec.ef_construction,
            shard_rows=config.shard_rows,
            seed=recipe.seed,
            on_progress=on_progress,
        )
        write_atomic(_path(store, config.modality), json.dumps(asdict(pilot), indent=1) + "\n")
    return config if config.codec is not None else replace(config, codec=pilot.chosen)


def run_pilot(
    store: EmbeddingStore,
    modality: Modality,
    *,
    memory: int,
    recall: float,
    M: int = HnswSpec.M,
    ef_construction: int = HnswSpec.ef_construction,
    shard_rows: int | None = None,
    seed: int = 0,
    rows: int = PILOT_ROWS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Pilot:
    """Measure all codecs on up to `rows` rows of the store; shards of the index have `shard_rows` rows (all of them).

    Raises:
        StoreInvalid: the store has no usable vector of `modality`.
    """
    import faiss

    report = on_progress or (lambda done, total: None)
    generator = np.random.Generator(np.random.PCG64([seed, 2]))
    drawn = np.unique(generator.integers(0, store.rows, rows)) if store.rows > rows else np.arange(store.rows)
    vectors = _distinct(np.asarray(store.gather(modality, drawn), np.float32))
    if not len(vectors):
        raise StoreInvalid(f"{store.path}: has no usable {modality} vector to measure with")
    asked: Modality = "text" if store.has_text else "image"
    _, queries = sample_queries(store, asked, PILOT_QUERIES, seed, query_step(store, asked, modality))
    truth, _ = exact_top_k([(0, vectors)], queries, min(_K, len(vectors)))
    shard = min(shard_rows or store.rows, store.rows)
    captions = _captions(store, drawn) if has_query_links(store, modality, shard) else None
    linked: tuple[Any, float] = (None, 0.0)  # the graph in fp16, and the seconds that it took
    found = []
    for done, codec in enumerate(CODEC_NAMES):
        size = index_bytes(store.rows, store.dim, codec, M, shard)
        row = PilotRow(codec, size, build_bytes(shard, store.dim, codec, M), size <= memory)
        try:
            check_codec(codec)
        except BadInput as error:
            found.append(replace(row, missing=str(error)))
            continue
        began = time.perf_counter()
        index = build_in_memory(vectors, HnswSpec(codec, M, ef_construction), captions=captions, linked=linked[0])
        seconds = time.perf_counter() - began + (linked[1] if codec == "sq4" else 0)
        if codec == "fp16":
            linked = index, seconds
        found.append(_measured(row, index, vectors, queries, truth, recall, len(vectors) / seconds))
        report(done + 1, len(CODEC_NAMES))
    chosen, why = _choose(found, recall, memory)
    return Pilot(
        store_rows=store.rows,
        rows=len(vectors),
        dim=store.dim,
        M=M,
        ef_construction=ef_construction,
        queries=len(queries),
        seed=seed,
        memory=memory,
        recall=recall,
        threads=faiss.omp_get_max_threads(),
        codecs=tuple(found),
        chosen=chosen,
        why=why,
    )


def _distinct(vectors: Floats) -> Floats:
    usable = vectors[usable_rows(vectors)]
    return usable[np.sort(np.unique(usable, axis=0, return_index=True)[1])] if len(usable) else usable


def _captions(store: EmbeddingStore, drawn: npt.NDArray[np.int64]) -> Floats:
    """Captions [n, d] of the rows `drawn`, without those that recall is measured with."""
    found = np.asarray(store.gather("text", drawn[drawn % QUERY_STEP != 0]), np.float32)
    return found[usable_rows(found)]


def _measured(
    row: PilotRow, index: Any, vectors: Floats, queries: Floats, truth: Floats, recall: float, rate: float
) -> PilotRow:
    best = (-1.0, 0, 0.0)
    for ef in EF_SEARCH:
        began = time.perf_counter()
        scores = _search(row.codec, index, vectors, queries, ef)
        seconds = time.perf_counter() - began
        reached = round(recall_at(truth, scores, min(_K, truth.shape[1])), 6)
        if reached > best[0]:
            best = (reached, ef, len(queries) / seconds)
        if reached >= recall:
            break
    return replace(
        row,
        ef_search=best[1],
        recall=best[0],
        queries_per_second=round(best[2], 1),
        build_rows_per_second=round(rate, 1),
    )


def _search(codec: CodecName, index: Any, vectors: Floats, queries: Floats, ef: int) -> Floats:
    """Scores [q, 10] of the rows found, exact as those of an index are."""
    width = max(ef, _K)
    candidates = max(_K, least_candidates(codec, width))
    scores, nodes = search_graph(index, queries, candidates, max(width, candidates))
    if not is_rounded(codec):
        return scores[:, :_K]
    exact = np.empty(scores.shape, np.float32)
    for number, (query, some) in enumerate(zip(queries, nodes, strict=True)):
        exact[number] = np.where(some < 0, -np.inf, vectors[some] @ query)
    return -np.sort(-exact, axis=1)[:, :_K]


def _choose(found: list[PilotRow], recall: float, memory: int) -> tuple[CodecName, str]:
    measured = [each for each in found if each.missing is None]
    fitting = [each for each in measured if each.fits]
    good = [each for each in fitting if each.recall >= recall]
    if good:
        return good[0].codec, f"fits {show_bytes(memory)} and reaches recall@10 {recall:g}"
    if fitting:
        best = max(fitting, key=lambda each: each.recall)
        return best.codec, f"no codec that fits {show_bytes(memory)} reaches recall@10 {recall:g}; the best of them"
    least = min(measured, key=lambda each: each.size)
    return least.codec, f"no codec fits {show_bytes(memory)}; the smallest, of which searches read parts from disk"


def read_pilot(store: EmbeddingStore, modality: Modality) -> Pilot | None:
    """The pilot that was kept; None where there is none, or one that cannot be read."""
    try:
        return Pilot.from_json(json.loads(read_bytes(_path(store, modality))))
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def drop_pilot(store: EmbeddingStore, modality: Modality) -> None:
    """Remove the pilot that was kept, when the index's manifest holds it."""
    remove(_path(store, modality))


def _path(store: EmbeddingStore, modality: Modality) -> Path:
    return index_folder(store, modality) / _NAME
