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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.files import exists, join, read_bytes, write_atomic
from retrieval.concepts import ConceptList
from retrieval.rules import Rules
from retrieval.search.candidates import MODES, Candidates, merge_hits, write_candidates
from retrieval.search.planner import Method
from retrieval.search.retriever import Retriever, SearchMode
from retrieval.templates import Templates

if TYPE_CHECKING:
    from index.encoder.clip_encoder import Encoder  # imports torch

__all__ = [
    "BLOCK_QUERIES",
    "PROMPTS_AT_ONCE",
    "Mode",
    "ModePlan",
    "QueryBlock",
    "RetrieveConfig",
    "block_summary",
    "count_hits",
    "cut_blocks",
    "encode_block",
    "finish_block",
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
        return {**plain, "concepts": self.concepts.to_json(), "rules": self.rules.to_json()}


@dataclass(frozen=True)
class ModePlan:
    """How all blocks are searched in one mode: see `SearchPlan`.

    source: names what is searched, the generation of the index or the store's rows, so that results of another one are
    not taken for these.
    """

    method: Method
    why: str
    ef_search: int | None
    source: str


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


def encode_block(block: QueryBlock, config: RetrieveConfig, encoder: Encoder) -> tuple[npt.NDArray[np.float16], int]:
    """The vectors [queries, d] of a block's prompts, and how many of these were cut to the model's context."""
    texts = [text for own in _prompts(block, config) for text in own]
    # In slices of the same size as in the service, so that both give the same vectors for a concept list.
    slices = [encoder.encode_queries(texts[at : at + PROMPTS_AT_ONCE]) for at in range(0, len(texts), PROMPTS_AT_ONCE)]
    return np.concatenate([rows for rows, _ in slices]), sum(sum(cut) for _, cut in slices)


def search_block(
    block: QueryBlock,
    config: RetrieveConfig,
    plans: Mapping[SearchMode, ModePlan],
    *,
    retriever: Retriever,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Encode a block's prompts, search them in each mode and write what `finish_block` writes; return the marker.

    on_progress(queries): called with the number of queries answered since the last call.
    """
    vectors, cut = encode_block(block, config, retriever.encoder)
    depth = search_depth(config.k, config.reserve, retriever.store.rows)

    def search(mode: SearchMode) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        plan = plans[mode]
        found = retriever.search(vectors, depth, mode=mode, method=plan.method, ef_search=plan.ef_search)
        if on_progress is not None:
            on_progress(len(vectors))
        return found.scores, found.row_ids

    return finish_block(block, config, plans, search, prompts_cut=cut)


def finish_block(
    block: QueryBlock,
    config: RetrieveConfig,
    plans: Mapping[SearchMode, ModePlan],
    search: Callable[[SearchMode], tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]],
    *,
    prompts_cut: int,
) -> dict[str, Any]:
    """Merge a block's hits by concept, write its candidates and then its marker; return the marker.

    search(mode): scores float32 [queries, m] and row ids int64 [queries, m] of the block's prompts, best first.
    """
    concept, prompt = owners([len(own) for own in _prompts(block, config)], block.first)
    hits = np.zeros(block.last - block.first, np.int64)
    parts: list[Candidates] = []
    for mode in config.modes:
        scores, row_ids = search(mode)
        hits += count_hits(concept, row_ids, config.k, block.first, len(hits))
        parts.append(merge_hits(concept, prompt, scores, row_ids, k=config.k, mode=MODES.index(mode)))
    write_candidates(Candidates.concatenate(parts), candidates_file(config.out, block))
    said = {mode: {"method": plans[mode].method, "why": plans[mode].why} for mode in config.modes}
    summary = {"hits": hits.tolist(), "plans": said, "prompts_cut": prompts_cut}
    write_atomic(_marker(config.out, block), json.dumps(summary))
    return summary


def _prompts(block: QueryBlock, config: RetrieveConfig) -> list[tuple[str, ...]]:
    """The prompts of each concept of a block."""
    return list(config.concepts.prompts(config.templates)[block.first : block.last])
