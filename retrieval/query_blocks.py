"""The search stage of retrieval, as work items: a block of concepts in, their merged candidates out.

A block holds whole concepts, about `block_queries` prompts, so that the hits of 10,000 concepts x 80 prompts never lie
in memory together, and a block's repeats are merged before it is written. A block is done when its marker is there;
what a block holds depends on the configuration alone. Knows no rules and no selection format.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from index.errors import BadInput
from index.files import exists, join, read_bytes, write_atomic
from index.store import EmbeddingStore
from retrieval.candidates import MODES, Candidates, merge_hits, write_candidates
from retrieval.concepts import ConceptList
from retrieval.rules import Rules
from retrieval.search import Retriever, SearchMode
from retrieval.templates import Templates

__all__ = [
    "BLOCK_QUERIES",
    "Mode",
    "QueryBlock",
    "RetrieveConfig",
    "block_summary",
    "is_block_done",
    "plan_blocks",
    "search_block",
]

Mode = Literal["t2i", "t2t", "both"]
# Hits of a block: 4,096 queries x 300 candidates x 12 bytes = 15 MB a mode; and an exact scan reads the whole corpus
# once a block, so blocks are not small either.
BLOCK_QUERIES = 4_096


@dataclass(frozen=True)
class RetrieveConfig:
    """All that decides a selection. k is the K of eq. 2.2/2.3, per prompt; reserve: extra ranks as a share of k."""

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
        """Everything but where the output goes."""
        plain = dataclasses.asdict(self)
        del plain["out"]
        return plain


@dataclass(frozen=True)
class QueryBlock:
    """One work item: concepts first .. last - 1 of the list, and how many prompts they make."""

    number: int
    first: int
    last: int
    queries: int


def plan_blocks(config: RetrieveConfig) -> list[QueryBlock]:
    """Cut the concept list into blocks of whole concepts with at most `block_queries` prompts (or one concept)."""
    blocks: list[QueryBlock] = []
    first = queries = 0
    counts = [len(prompts) for prompts in config.concepts.prompts(config.templates)]
    for number, count in enumerate(counts):
        if queries and queries + count > config.block_queries:
            blocks.append(QueryBlock(len(blocks), first, number, queries))
            first, queries = number, 0
        queries += count
    blocks.append(QueryBlock(len(blocks), first, len(counts), queries))
    return blocks


def candidates_file(out: str, block: QueryBlock) -> str:
    return join(out, f"work/candidates_{block.number:05d}.parquet")


def _marker(out: str, block: QueryBlock) -> str:
    return join(out, f"work/done_{block.number:05d}.json")


def is_block_done(block: QueryBlock, config: RetrieveConfig) -> bool:
    return exists(_marker(config.out, block))


def block_summary(block: QueryBlock, config: RetrieveConfig) -> dict[str, Any]:
    """The marker of a finished block: hits within K for each of its concepts, plans, how many prompts were cut."""
    summary: dict[str, Any] = json.loads(read_bytes(_marker(config.out, block)))
    return summary


def search_block(
    block: QueryBlock,
    config: RetrieveConfig,
    *,
    retriever: Retriever | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Search a block's prompts in each mode, merge them by concept, write candidates and marker; return the marker.

    retriever: an open one for the same store; by default one is opened. on_progress is called with the number of
    queries answered since its last call.
    """
    retriever = retriever or Retriever(EmbeddingStore.open(config.store))
    prompts = config.concepts.prompts(config.templates)[block.first : block.last]
    texts = [text for own in prompts for text in own]
    lengths = [len(own) for own in prompts]
    concept = np.repeat(np.arange(block.first, block.last, dtype=np.int32), lengths)
    prompt = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
    depth = min(config.k + math.ceil(config.k * config.reserve), retriever.store.rows)
    vectors, cut = retriever.encoder.encode_queries(texts)
    hits = np.zeros(block.last - block.first, np.int64)
    parts: list[Candidates] = []
    plans: dict[str, Any] = {}
    for mode in config.modes:
        found = retriever.search(vectors, depth, mode=mode, method=config.method)
        within = (found.row_ids[:, : config.k] >= 0).sum(axis=1)
        hits += np.bincount(concept - block.first, weights=within, minlength=len(hits)).astype(np.int64)
        number = MODES.index(mode)
        parts.append(merge_hits(concept, prompt, found.scores, found.row_ids, k=config.k, mode=number))
        plans[mode] = {"method": found.plan.method, "why": found.plan.why}
        if on_progress is not None:
            on_progress(len(texts))
    write_candidates(Candidates.concatenate(parts), candidates_file(config.out, block))
    summary = {"hits": hits.tolist(), "plans": plans, "prompts_cut": sum(cut)}
    write_atomic(_marker(config.out, block), json.dumps(summary))
    return summary
