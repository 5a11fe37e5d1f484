"""Answers a concept list as a stream of JSON lines, with the same searches and rules as `clipmine retrieve`.

With cross_concept="keep-all" the rules look at each concept alone, so its rows are sent as soon as its block is
searched. Otherwise concepts compete for rows: then only progress is sent while searching, and all rows at the end.
Closing the stream stops the work after the call that is running.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from index.errors import BadInput, ClipmineError
from retrieval.concepts import Concept, ConceptList, concept_list
from retrieval.query_blocks import PROMPTS_AT_ONCE, QueryBlock, count_hits, cut_blocks, owners, search_depth
from retrieval.rules import Loss, RuleOutcome, Rules, apply_rules
from retrieval.search.candidates import MODES, Candidates, merge_hits
from retrieval.search.retriever import SEARCHED
from retrieval.service.backend import Backend
from retrieval.service.limits import check_count, check_k
from retrieval.service.schemas import ConceptItem, ConceptsRequest
from retrieval.service.search import Service, unit_vector, vectors_of_base64
from retrieval.templates import PLACE, TEMPLATE_SETS, Templates, load_templates

__all__ = ["ConceptJob", "prepare", "stream"]

COLUMNS = ("key", "shard", "caption", "url")
SEARCHED_AT_ONCE = 256  # vectors of one search in the graph; queries of other requests run between two such searches
_MODE_NAMES = [name.encode() for name in MODES]


@dataclass(frozen=True)
class ConceptJob:
    """A checked request. prompts: for each concept its texts, or its vectors [n, d]; depth: rows to search a prompt."""

    concepts: ConceptList
    prompts: tuple[tuple[str, ...] | npt.NDArray[np.float32], ...]
    modes: tuple[str, ...]
    k: int
    depth: int
    rules: Rules
    columns: tuple[str, ...]
    method: str | None
    blocks: tuple[QueryBlock, ...]

    @property
    def queries(self) -> int:
        return sum(block.queries for block in self.blocks)


def prepare(service: Service, request: ConceptsRequest) -> ConceptJob:
    """Check a request against the store and the settings; BadInput for one that cannot be answered."""
    store, settings = service.backend.store, service.settings
    check_count(len(request.concepts), settings.max_concepts, "concepts")
    check_k(request.k, settings, store.rows)
    modes = MODES if request.mode == "both" else (request.mode,)
    if "t2t" in modes and not store.has_text:
        raise BadInput("the store has no text embeddings, so no t2t; use the mode t2i")
    service.check_columns(request.columns or ())
    for text in request.templates:
        if text not in TEMPLATE_SETS and PLACE not in text:
            raise BadInput(f"template {text!r}: give {', '.join(TEMPLATE_SETS)} or a text with {PLACE}")
    templates = load_templates(request.templates or ["simple"])
    items = [ConceptItem(name=item) if isinstance(item, str) else item for item in request.concepts]
    concepts = concept_list(
        Concept(
            item.name,
            tuple(item.aliases),
            None if item.templates is None else tuple(item.templates) or None,
            item.id,
        )
        for item in items
    )
    prompts = tuple(
        _prompts(concept, item, templates, store.dim) for concept, item in zip(concepts, items, strict=True)
    )
    counts = [len(own) for own in prompts]
    check_count(sum(counts), settings.max_prompts, "prompts")
    return ConceptJob(
        concepts,
        prompts,
        modes,
        request.k,
        search_depth(request.k, request.reserve, store.rows),
        request.rules.to_rules(),
        tuple(request.columns) if request.columns is not None else COLUMNS,
        request.method,
        tuple(cut_blocks(counts)),
    )


def _prompts(
    concept: Concept, item: ConceptItem, templates: Templates, dim: int
) -> tuple[str, ...] | npt.NDArray[np.float32]:
    if item.embeddings_b64 is None:
        return concept.prompts(templates.texts)
    vectors = vectors_of_base64(item.embeddings_b64, dim, f"concept {item.name!r}")
    return np.stack([unit_vector(vector, dim, place) for place, vector in enumerate(vectors)])


async def stream(service: Service, job: ConceptJob) -> AsyncIterator[bytes]:
    """Yield NDJSON lines: start, progress, a line for each concept, and end (or error)."""
    try:
        async for line in _lines(service, job):
            yield line
    except ClipmineError as error:
        yield _line({"type": "error", "error": str(error)})


async def _lines(service: Service, job: ConceptJob) -> AsyncIterator[bytes]:
    count = len(job.concepts)
    yield _line({"type": "start", "concepts": count, "prompts": job.queries})
    hits = np.zeros(count, np.int64)
    gathered: list[Candidates] = []
    outcomes: list[RuleOutcome] = []
    plans: dict[str, str] = {}
    missing: set[str] = set()
    done = cut = 0
    for block in job.blocks:
        parts: list[Candidates] = []
        vectors, cut_here = await _vectors(service.backend, job, block)
        cut += cut_here
        concept, prompt = owners([len(own) for own in job.prompts[block.first : block.last]], block.first)
        for mode in job.modes:
            scores, row_ids = [], []
            async for found in _search(service.backend, vectors, mode, job, plans):
                scores.append(found.scores)
                row_ids.append(found.row_ids)
                missing |= set(found.missing)
                done += len(found.scores)
                yield _line({"type": "progress", "done": done, "total": job.queries * len(job.modes)})
            rows = np.concatenate(row_ids)
            hits[block.first : block.last] += count_hits(concept, rows, job.k, block.first, block.last - block.first)
            number = MODES.index(mode)
            parts.append(merge_hits(concept, prompt, np.concatenate(scores), rows, k=job.k, mode=number))
        if job.rules.cross_concept == "keep-all":
            outcome = await _apply_rules(service.backend, job, parts)
            outcomes.append(outcome)
            async for line in _concept_lines(service, job, outcome.kept, hits, block.first, block.last):
                yield line
        else:
            gathered += parts
    if job.rules.cross_concept != "keep-all":
        outcome = await _apply_rules(service.backend, job, gathered)
        outcomes.append(outcome)
        async for line in _concept_lines(service, job, outcome.kept, hits, 0, count):
            yield line
    kept = sum(len(outcome.kept) for outcome in outcomes)
    losses = _losses([outcome.losses for outcome in outcomes], job.concepts.names)
    total, lost = int(hits.sum()), sum(loss["rows"] for loss in losses)
    yield _line(
        {
            "type": "end",
            "hits": total,
            "rows": kept,
            # Hits of a row that several prompts found are merged before the rules: the rest of hits = rows + losses.
            "losses": [{"rule": "several-prompts", "rows": total - kept - lost, "by_concept": {}}, *losses],
            "prompts_cut": cut,
            "plans": plans,
            "partial": bool(missing),
            "missing": sorted(missing),
        }
    )


async def _vectors(backend: Backend, job: ConceptJob, block: QueryBlock) -> tuple[npt.NDArray[np.floating[Any]], int]:
    """The vectors of a block's prompts, in order, and the number of prompts that were cut.

    Encoded in slices, so that texts of other requests are encoded between them.
    """
    prompts = job.prompts[block.first : block.last]
    texts = [text for own in prompts if isinstance(own, tuple) for text in own]
    encoded = [
        await backend.encode_texts(texts[at : at + PROMPTS_AT_ONCE], repeatable=True)
        for at in range(0, len(texts), PROMPTS_AT_ONCE)
    ]
    cut = sum(sum(slice_.cut) for slice_ in encoded)
    of_texts = np.concatenate([slice_.vectors for slice_ in encoded]) if encoded else np.empty((0, 0), np.float16)
    if len(texts) == block.queries:
        return of_texts, cut
    left = iter(of_texts.astype(np.float32))
    rows = [np.stack([next(left) for _ in own]) if isinstance(own, tuple) else own for own in prompts]
    return np.concatenate(rows), cut


async def _search(
    backend: Backend, vectors: npt.NDArray[np.floating[Any]], mode: str, job: ConceptJob, plans: dict[str, str]
) -> AsyncIterator[Any]:
    """Search a block by the method planned for all its vectors: through the graph in slices, by a scan at once."""
    modality = SEARCHED[mode]
    method = backend.plan(modality, len(vectors), job.depth, job.method)
    step = SEARCHED_AT_ONCE if method == "hnsw" else len(vectors)
    for at in range(0, len(vectors), step):
        found = await backend.search(vectors[at : at + step], modality, job.depth, method)
        plans.setdefault(mode, method)
        yield found


async def _apply_rules(backend: Backend, job: ConceptJob, parts: Sequence[Candidates]) -> RuleOutcome:
    candidates = Candidates.concatenate(parts)
    return await asyncio.to_thread(
        apply_rules, candidates, job.rules, backend.store, concepts=len(job.concepts), reserve=0.0
    )


async def _concept_lines(
    service: Service, job: ConceptJob, kept: Candidates, hits: npt.NDArray[np.int64], first: int, last: int
) -> AsyncIterator[bytes]:
    bounds = np.searchsorted(kept.concept, np.arange(first, last + 1))
    for place in range(first, last):
        own = kept.take(np.arange(bounds[place - first], bounds[place - first + 1]))
        concept = job.concepts.concepts[place]
        fragments = await service.lookup.fragments(own.row_id.tolist(), job.columns)
        texts = job.prompts[place]
        prompts = [orjson.dumps(text) for text in texts] if isinstance(texts, tuple) else [b"null"] * len(texts)
        # Formatted by hand for speed: a list of 1,000 concepts may have a million rows.
        rows = b",".join(
            b'{"row_id":%d,"score":%a,"rank":%d,"mode":"%s","prompt":%s,"both_ways":%s%s}'
            % (row, score, rank, _MODE_NAMES[mode], prompts[prompt], orjson.dumps(both), fragments[row])
            for row, score, rank, mode, prompt, both in zip(
                own.row_id.tolist(), own.score.tolist(), own.rank.tolist(), own.mode.tolist(), own.prompt.tolist(),
                own.both_ways.tolist(), strict=True,
            )
        )  # fmt: skip
        head = {"type": "concept", "name": concept.name, "id": concept.class_id, "hits": int(hits[place])}
        yield orjson.dumps(head)[:-1] + b',"rows":[' + rows + b"]}\n"
        await asyncio.sleep(0)  # lets other requests run


def _losses(several: Sequence[Sequence[Loss]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that each rule dropped, summed over blocks, in all and by concept."""
    found = []
    for same_rule in zip(*several, strict=True):
        by_concept = np.sum([loss.by_concept for loss in same_rule], axis=0)
        counts = {names[int(place)]: int(by_concept[place]) for place in np.flatnonzero(by_concept)}
        found.append({"rule": same_rule[0].rule, "rows": int(by_concept.sum()), "by_concept": counts})
    return found


def _line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields) + b"\n"
