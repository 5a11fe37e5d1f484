"""Answers a concept list as a stream of JSON lines, with the same searches and rules as `clipmine retrieve`.

With cross_concept="keep-all" the rules look at each concept alone, so its rows are sent as soon as its block is
searched. Otherwise concepts compete for rows: then only progress is sent while searching, and all rows at the end.
Closing the stream stops the work after the call that is running.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from index.errors import ClipmineError
from retrieval.query_blocks import PROMPTS_AT_ONCE, QueryBlock, count_hits, owners
from retrieval.rules import Loss, RuleOutcome, apply_rules
from retrieval.search.candidates import MODES, Candidates, merge_hits
from retrieval.search.retriever import SEARCHED
from retrieval.service.backend import Found, Overloaded, Unavailable
from retrieval.service.concept_job import ConceptJob
from retrieval.service.search import Service

__all__ = ["stream"]

SEARCHED_AT_ONCE = 256  # vectors of one search in the graph; queries of other requests run between two such searches
ROWS_AT_ONCE = 2_000  # rows whose lines are written by one call of a thread
_MODES: tuple[str, ...] = MODES
_MODE_NAMES = [name.encode() for name in MODES]

Result = TypeVar("Result")


async def stream(service: Service, job: ConceptJob) -> AsyncGenerator[bytes, None]:
    """Yield NDJSON lines: start, progress, a line for each concept, and end (or error)."""
    try:
        async for line in _lines(service, job):
            yield line
    except ClipmineError as error:
        yield _line({"type": "error", "error": str(error)})


async def _lines(service: Service, job: ConceptJob) -> AsyncIterator[bytes]:
    work = _Work(service, job)
    count = len(job.concepts)
    yield _line({"type": "start", "concepts": count, "prompts": job.queries})
    gathered: list[Candidates] = []
    outcomes: list[RuleOutcome] = []
    for block in job.blocks:
        vectors = await work.vectors(block)
        parts: list[Candidates] = []
        for mode in job.modes:
            found: list[Found] = []
            async for one in work.search(vectors, mode):
                found.append(one)
                yield _line({"type": "progress", "done": work.done, "total": job.queries * len(job.modes)})
            parts.append(await service.in_worker(work.merge, block, mode, found))
        if job.rules.cross_concept == "keep-all":
            outcome = await service.in_worker(work.apply_rules, parts)
            outcomes.append(outcome)
            async for line in work.concept_lines(outcome.kept, block.first, block.last):
                yield line
        else:
            gathered += parts
    if job.rules.cross_concept != "keep-all":
        outcome = await service.in_worker(work.apply_rules, gathered)
        outcomes.append(outcome)
        async for line in work.concept_lines(outcome.kept, 0, count):
            yield line
    yield await service.in_worker(work.last_line, outcomes)


class _Work:
    """The work on one list: what it has counted so far, and its steps. Those without `async` are run in a thread."""

    def __init__(self, service: Service, job: ConceptJob) -> None:
        self._service, self._job = service, job
        self._end = time.monotonic() + service.settings.list_seconds
        self._hits = np.zeros(len(job.concepts), np.int64)
        self._plans: dict[str, str] = {}
        self._missing: set[str] = set()
        self._cut = 0
        self.done = 0  # queries answered

    async def vectors(self, block: QueryBlock) -> npt.NDArray[np.floating[Any]]:
        """The vectors of a block's prompts, in order.

        Encoded in slices, so that texts of other requests are encoded between them.
        """
        prompts = self._job.prompts[block.first : block.last]
        texts = [text for own in prompts if isinstance(own, tuple) for text in own]
        slices: list[npt.NDArray[np.floating[Any]]] = []
        for at in range(0, len(texts), PROMPTS_AT_ONCE):
            some = texts[at : at + PROMPTS_AT_ONCE]
            encoded = await self._patiently(partial(self._service.backend.encode_texts, some, repeatable=True))
            slices.append(encoded.vectors)
            self._cut += sum(encoded.cut)
        of_texts = np.concatenate(slices) if slices else np.empty((0, 0), np.float16)
        if len(texts) == block.queries:
            return of_texts
        return await self._service.in_worker(_in_order, prompts, of_texts)

    async def search(self, vectors: npt.NDArray[np.floating[Any]], mode: str) -> AsyncIterator[Found]:
        """Search a block by the method planned for all its vectors: through the graph in slices, by a scan at once."""
        job, backend, modality = self._job, self._service.backend, SEARCHED[mode]
        method = (await backend.plan(modality, len(vectors), job.depth, job.methods[mode])).method
        self._plans.setdefault(mode, method)
        step = SEARCHED_AT_ONCE if method == "hnsw" else len(vectors)
        for at in range(0, len(vectors), step):
            some = vectors[at : at + step]
            found = await self._patiently(partial(backend.search, some, modality, job.depth, method))
            self._missing |= set(found.missing)
            self.done += len(some)
            yield found

    def merge(self, block: QueryBlock, mode: str, found: Sequence[Found]) -> Candidates:
        """The candidates of a block, each row once for a concept, from the searches of one mode."""
        job, count = self._job, block.last - block.first
        concept, prompt = owners([len(own) for own in job.prompts[block.first : block.last]], block.first)
        rows = np.concatenate([one.row_ids for one in found])
        scores = np.concatenate([one.scores for one in found])
        self._hits[block.first : block.last] += count_hits(concept, rows, job.k, block.first, count)
        return merge_hits(concept, prompt, scores, rows, k=job.k, mode=_MODES.index(mode))

    def apply_rules(self, parts: Sequence[Candidates]) -> RuleOutcome:
        """What the rules keep of the candidates."""
        job, store = self._job, self._service.backend.store
        return apply_rules(Candidates.concatenate(parts), job.rules, store, concepts=len(job.concepts), reserve=0.0)

    async def concept_lines(self, kept: Candidates, first: int, last: int) -> AsyncIterator[bytes]:
        """A line for each of the concepts first .. last - 1, some of them together."""
        bounds = np.searchsorted(kept.concept, np.arange(first, last + 1)).tolist()
        start = first
        while start < last:
            stop = start + 1
            while stop < last and bounds[stop + 1 - first] - bounds[start - first] <= ROWS_AT_ONCE:
                stop += 1
            places = {place: slice(bounds[place - first], bounds[place + 1 - first]) for place in range(start, stop)}
            yield await self._service.in_worker(self._concept_lines, kept, places)
            start = stop

    def _concept_lines(self, kept: Candidates, places: dict[int, slice]) -> bytes:
        return b"".join(self._concept_line(kept, own, place) for place, own in places.items())

    def _concept_line(self, kept: Candidates, own: slice, place: int) -> bytes:
        job = self._job
        concept = job.concepts.concepts[place]
        rows = kept.row_id[own].tolist()
        fragments = self._service.lookup.read(rows, job.columns)
        texts = job.prompts[place]
        prompts = [orjson.dumps(text) for text in texts] if isinstance(texts, tuple) else [b"null"] * len(texts)
        # Formatted by hand for speed: a list of 1,000 concepts may have a million rows.
        formatted = b",".join(
            b'{"row_id":%d,"score":%a,"rank":%d,"mode":"%s","prompt":%s,"both_ways":%s%s}'
            % (row, score, rank, _MODE_NAMES[mode], prompts[prompt], orjson.dumps(both), fragments[row])
            for row, score, rank, mode, prompt, both in zip(
                rows, kept.score[own].tolist(), kept.rank[own].tolist(), kept.mode[own].tolist(),
                kept.prompt[own].tolist(), kept.both_ways[own].tolist(), strict=True,
            )
        )  # fmt: skip
        head = {"type": "concept", "name": concept.name, "id": concept.class_id, "hits": int(self._hits[place])}
        return orjson.dumps(head)[:-1] + b',"rows":[' + formatted + b"]}\n"

    def last_line(self, outcomes: Sequence[RuleOutcome]) -> bytes:
        """The counts of the whole list."""
        kept = sum(len(outcome.kept) for outcome in outcomes)
        losses = _losses([outcome.losses for outcome in outcomes], self._job.concepts.labels)
        total, lost = int(self._hits.sum()), sum(loss["rows"] for loss in losses)
        # Hits of a row that several prompts found are merged before the rules: the rest of hits = rows + losses.
        merged = {"rule": "several-prompts", "rows": total - kept - lost, "by_concept": {}}
        return _line(
            {
                "type": "end",
                "hits": total,
                "rows": kept,
                "losses": [merged, *losses],
                "prompts_cut": self._cut,
                "plans": self._plans,
                "partial": bool(self._missing),
                "missing": sorted(self._missing),
            }
        )

    async def _patiently(self, call: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The answer of `call`, repeated while a queue is full: the list has its place already.

        Raises Unavailable when the list's time is up.
        """
        while True:
            if time.monotonic() > self._end:
                seconds = self._service.settings.list_seconds
                raise Unavailable(f"this list has taken longer than {seconds:g} s; send it in parts")
            try:
                return await call()
            except Overloaded as error:
                await asyncio.sleep(error.retry_after)


def _in_order(
    prompts: Sequence[tuple[str, ...] | npt.NDArray[np.float32]], of_texts: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float32]:
    """The vectors of prompts of which some are texts, whose vectors are `of_texts`, and the others vectors."""
    left = iter(of_texts.astype(np.float32))
    rows = [np.stack([next(left) for _ in own]) if isinstance(own, tuple) else own for own in prompts]
    return np.concatenate(rows)


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
