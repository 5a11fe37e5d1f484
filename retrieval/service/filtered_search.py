"""Searches, keeps what meets the filters, and searches deeper for the queries that filters have left short.

Filters are applied to the rows that a search returns, in a thread. Deepening ends at the limits of the request
(`limits.search_depths`) and when its time is up; the queries that are short then say so (`complete` is false).
"""

from __future__ import annotations

import time
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from retrieval.search.duplicates import greedy_duplicates
from retrieval.service.backend import Backend, Found
from retrieval.service.filters import condition, filter_columns
from retrieval.service.limits import DEEPER, Depth
from retrieval.service.metadata_cache import RowLookup, as_row
from retrieval.service.query_vectors import OpenQuery
from retrieval.service.schemas import SearchOptions
from retrieval.service.threads import SMALL, run_to_end

__all__ = ["FilteredSearch"]

ROWS_AT_ONCE = 2_000  # judged by one call of a thread, and between two looks at the clock

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]


class FilteredSearch:
    """One request's search. seconds: after so long it looks no deeper. pool: the threads for its work."""

    def __init__(
        self,
        backend: Backend,
        lookup: RowLookup,
        pool: Executor,
        request: SearchOptions,
        method: str | None,
        seconds: float,
    ) -> None:
        self._backend, self._lookup, self._pool = backend, lookup, pool
        self._request, self._method = request, method
        self._columns = filter_columns(request.filters)
        self._meets = condition(request.filters)
        self._end = time.monotonic() + seconds
        self._verdicts: dict[int, bool] = {}  # by row id: whether it meets the filters on columns

    async def fill(self, queries: list[OpenQuery], depth: Depth) -> tuple[str, tuple[str, ...]]:
        """Search for all queries and set their results; the plan, and the names of shards that did not answer."""
        asked = self._request.filters.exclude, self._backend.store.rows
        few = len(asked[0]) <= SMALL
        exclude = excluded_rows(*asked) if few else await run_to_end(self._pool, excluded_rows, *asked)
        strict = bool(self._columns) or self._request.filters.near_duplicates is not None
        pending, plan, missing, rows = queries, "", set[str](), depth.first
        while pending:
            vectors = np.stack([query.vector for query in pending])
            found = await self._backend.search(vectors, self._request.modality, rows, self._method, exclude)
            plan = plan or found.plan
            missing |= set(found.missing)
            await self._keep(pending, found, small=found.row_ids.size <= SMALL and not strict)
            if rows >= depth.most or not strict or time.monotonic() > self._end:
                break
            pending = [query for query in pending if len(query.rows) < self._request.k and not query.complete]
            rows = min(depth.most, rows * DEEPER)
        return plan, tuple(sorted(missing))

    async def _keep(self, queries: list[OpenQuery], found: Found, small: bool) -> None:
        """Keep of each query's hits what meets the filters, up to k. small: on the event loop itself.

        The work is cut into calls of the pool, so that other requests' work comes between.
        """
        filters, k = self._request.filters, self._request.k
        hits = self._above(queries, found) if small else await run_to_end(self._pool, self._above, queries, found)
        judged = await self._judge([rows for _, rows in hits]) if self._columns else True
        for query, (scores, rows) in zip(queries, hits, strict=True):
            if self._columns:
                good = np.fromiter((self._verdicts.get(row, False) for row in rows.tolist()), np.bool_, len(rows))
                scores, rows = scores[good], rows[good]
            if filters.near_duplicates is not None and len(rows):
                good = ~await run_to_end(self._pool, self._near_duplicates, rows, filters.near_duplicates)
                scores, rows = scores[good], rows[good]
            query.rows, query.scores = rows[:k].tolist(), scores[:k].tolist()
            query.complete = len(query.rows) >= k or (query.complete and judged)

    def _above(self, queries: list[OpenQuery], found: Found) -> list[tuple[Floats, RowIds]]:
        """Each query's hits that are above the score asked for and are not the query itself."""
        floor = -np.inf if self._request.filters.min_score is None else self._request.filters.min_score
        hits: list[tuple[Floats, RowIds]] = []
        for query, scores, rows in zip(queries, found.scores, found.row_ids, strict=True):
            good = (rows >= 0) & (scores >= floor)
            query.searched = int((rows >= 0).sum())
            # Scores fall, so the search is complete at a row below the floor, or when it found no more rows.
            query.complete = bool(rows[-1] < 0 or scores[-1] < floor or len(rows) >= self._backend.store.rows)
            if query.own_row is not None:
                good &= rows != query.own_row
            hits.append((scores[good], rows[good]))
        return hits

    async def _judge(self, hits: list[RowIds]) -> bool:
        """Look at the metadata of rows that are new; False when the time was up before all were looked at."""
        wanted = [row for row in np.unique(np.concatenate(hits)).tolist() if row not in self._verdicts]
        for start in range(0, len(wanted), ROWS_AT_ONCE):
            if time.monotonic() > self._end:
                return False
            await run_to_end(self._pool, self._judge_some, wanted[start : start + ROWS_AT_ONCE])
        return True

    def _judge_some(self, rows: list[int]) -> None:
        for row, fragment in self._lookup.read(rows, self._columns).items():
            self._verdicts[row] = self._meets(as_row(fragment))

    def _near_duplicates(self, rows: RowIds, threshold: float) -> npt.NDArray[np.bool_]:
        return greedy_duplicates(self._backend.store.gather("image", rows), threshold)


def excluded_rows(exclude: list[int], rows: int) -> npt.NDArray[Any] | None:
    """The rows to exclude, sorted; None for none. BadInput for a row that the store does not have."""
    if not exclude:
        return None
    unwanted = np.unique(np.array(exclude, np.int64))
    if unwanted[-1] >= rows:
        raise BadInput(f"filters.exclude: no row {unwanted[-1]}; the store has rows 0 to {rows - 1}")
    return unwanted
