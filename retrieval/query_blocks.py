"""The configuration of a retrieval, and its search stage as work items: a block of concepts in, their candidates out.

A block holds whole concepts with about `block_queries` prompts together, so that the hits of 10,000 concepts x 80
prompts are never in memory at once. Hits of several prompts of a concept are merged before a block is written. A block
is done when its marker file exists; what it holds depends on the configuration alone. The rules are part of the
configuration but are not applied here: they weigh all blocks' candidates together (`retrieval.retrieve`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.files import exists, join, read_bytes, write_atomic
from index.store.embedding_store import EmbeddingStore
from retrieval.concepts import ConceptList
from retrieval.rules import Rules
from retrieval.search.candidates import MODES, Candidates, merge_hits, write_candidates
from retrieval.search.retriever import Retriever, SearchMode
from retrieval.templates import Templates

__all__ = [
    "BLOCK_QUERIES",
    "PROMPTS_AT_ONCE",
    "Mode",
    "QueryBlock",
    "RetrieveConfig",
    "block_summary",
    "count_hits",
    "cut_blocks",
    "is_block_done",
    "owners",
    "plan_blocks",
    "search_block",
    "search_depth",
]

Mode = Literal["t2i", "t2t", "both"]
# Hits of a block: 4,096 queries x 300 candidates x 12 bytes = 15 MB a mode. An exact scan reads all embeddings once for
# each block, so smaller blocks would cost reads.
BLOCK_QUERIES = 4_096
PROMPTS_AT_ONCE = 64  # a call of the text encoder


@dataclass(frozen=True)
class RetrieveConfig:
    """All that decides a selection.

    store, out: paths. k: rows a prompt, the K of eq. 2.2 and 2.3. reserve: extra ranks to keep, as a share of k.
    method: "hnsw", "exact", or None to let the planner choose. block_queries: prompts of a work item.
    """

    store: str
    out: str
    concepts: ConceptList
    templates: Templates
    mode: Mode = "both"
    k: int = 50
    reserve: float = 0.5
    rules: Rules = field(default_factory=Rules)
    method: str | None = None
    block_queries: int = BLOCK_QUERIES

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise BadInput(f"mode {self.mode!r}: unknown; valid ones: {', '.join(get_args(Mode))}")
        if self.k < 1:
            raise BadInput(f"k {self.k}: must be at least 1")
        if not 0 <= self.reserve <= 10:
            raise BadInput(f"reserve {self.reserve}: a share of k, between 0 and 10")

    @property
    def modes(self) -> tuple[SearchMode, ...]:
        return MODES if self.mode == "both" else (self.mode,)

    def to_json(self) -> dict[str, Any]:
        """Everything except the output folder, as plain JSON data."""
        plain = dataclasses.asdict(self)
        del plain["out"]
        return {**plain, "rules": self.rules.to_json()}


@dataclass(frozen=True)
class QueryBlock:
    """One work item: concepts first .. last - 1 of the list; queries: the number of their prompts."""

    number: int
    first: int
    last: int
    queries: int


def plan_blocks(config: RetrieveConfig) -> list[QueryBlock]:
    """Cut the concept list into blocks of whole concepts with at most `block_queries` prompts (or one concept)."""
    return cut_blocks([len(prompts) for prompts in config.concepts.prompts(config.templates)], config.block_queries)


def cut_blocks(counts: Sequence[int], block_queries: int = BLOCK_QUERIES) -> list[QueryBlock]:
    """`plan_blocks` from the number of prompts of each concept."""
    blocks: list[QueryBlock] = []
    first = queries = 0
    for number, count in enumerate(counts):
        if queries and queries + count > block_queries:
            blocks.append(QueryBlock(len(blocks), first, number, queries))
            first, queries = number, 0
        queries += count
    blocks.append(QueryBlock(len(blocks), first, len(counts), queries))
    return blocks


def search_depth(k: int, reserve: float, rows: int) -> int:
    """Rows to search for each prompt: k and the reserve's ranks beyond it, at most all `rows` of the store."""
    return min(k + math.ceil(k * reserve), rows)


def owners(lengths: Sequence[int], first: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The concept of each prompt and its place in that concept, two int32 arrays [prompts].

    lengths: prompts of each concept, from concept number `first` on.
    """
    concept = np.repeat(np.arange(first, first + len(lengths), dtype=np.int32), lengths)
    return concept, np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])


def count_hits(
    concept: npt.NDArray[np.int32], row_ids: npt.NDArray[np.int64], k: int, first: int, count: int
) -> npt.NDArray[np.int64]:
    """int64 [count]: results within k for each concept from number `first` on.

    concept: int32 [q], of each query; row_ids: int64 [q, m], best first, -1 where fewer rows were found.
    """
    within = (row_ids[:, :k] >= 0).sum(axis=1)
    return np.bincount(concept - first, weights=within, minlength=count).astype(np.int64)


def candidates_file(out: str, block: QueryBlock) -> str:
    return join(out, f"work/candidates_{block.number:05d}.parquet")


def _marker(out: str, block: QueryBlock) -> str:
    return join(out, f"work/done_{block.number:05d}.json")


def is_block_done(block: QueryBlock, config: RetrieveConfig) -> bool:
    return exists(_marker(config.out, block))


def block_summary(block: QueryBlock, config: RetrieveConfig) -> dict[str, Any]:
    """The marker of a finished block: hits within K of each concept, plans by mode, the number of prompts cut."""
    summary: dict[str, Any] = json.loads(read_bytes(_marker(config.out, block)))
    return summary


def search_block(
    block: QueryBlock,
    config: RetrieveConfig,
    *,
    retriever: Retriever | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Search a block's prompts in each mode, merge the hits by concept, write candidates and marker; return the marker.

    retriever: an open one for the same store; by default one is opened. on_progress(queries): called with the number
    of queries answered since the last call.
    """
    retriever = retriever or Retriever(EmbeddingStore.open(config.store))
    prompts = config.concepts.prompts(config.templates)[block.first : block.last]
    texts = [text for own in prompts for text in own]
    concept, prompt = owners([len(own) for own in prompts], block.first)
    depth = search_depth(config.k, config.reserve, retriever.store.rows)
    encoder = retriever.encoder
    # In slices of the same size as in the service, so that both give the same vectors for a concept list.
    slices = [encoder.encode_queries(texts[at : at + PROMPTS_AT_ONCE]) for at in range(0, len(texts), PROMPTS_AT_ONCE)]
    vectors = np.concatenate([rows for rows, _ in slices])
    hits = np.zeros(block.last - block.first, np.int64)
    parts: list[Candidates] = []
    plans: dict[str, Any] = {}
    for mode in config.modes:
        found = retriever.search(vectors, depth, mode=mode, method=config.method)
        hits += count_hits(concept, found.row_ids, config.k, block.first, len(hits))
        number = MODES.index(mode)
        parts.append(merge_hits(concept, prompt, found.scores, found.row_ids, k=config.k, mode=number))
        plans[mode] = {"method": found.plan.method, "why": found.plan.why}
        if on_progress is not None:
            on_progress(len(texts))
    write_candidates(Candidates.concatenate(parts), candidates_file(config.out, block))
    summary = {"hits": hits.tolist(), "plans": plans, "prompts_cut": sum(sum(cut) for _, cut in slices)}
    write_atomic(_marker(config.out, block), json.dumps(summary))
    return summary
