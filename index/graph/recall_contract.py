"""The recall contract: how close an index comes to exact search, as measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from index.graph.margins import Margins
from index.store.embedding_store import Modality

__all__ = ["CurvePoint", "RecallContract", "Stratum", "VisitContract", "VisitPoint"]


@dataclass(frozen=True)
class CurvePoint:
    """Recall at one efSearch. Searches use max(efSearch, k), so `recall_at_100` is the same for all up to 100."""

    ef_search: int
    recall_at_10: float
    recall_at_100: float


@dataclass(frozen=True)
class Stratum:
    """Queries of a kind that graphs find hard, measured beside the captions.

    Attributes:
        name: where they lie, such as "beside crowds of near-copies".
        queries: how many.
        recall_at_10: at each efSearch of the contract's curve.
    """

    name: str
    queries: int
    recall_at_10: tuple[float, ...]


@dataclass(frozen=True)
class VisitPoint:
    """One margin (`index.graph.visits`): the share of the shards that a query visits on average, and the share of its
    10 and 100 best rows that are in them, which a search of their graphs cannot exceed."""

    margin: int
    share: float
    recall_at_10: float
    recall_at_100: float


@dataclass(frozen=True)
class VisitContract:
    """Which shards a query visits, where rows are grouped by meaning.

    Attributes:
        margins: for the 10 and for the 100 best rows; None: all shards, since fewer do not reach the recall.
        share: of the shards, that a query for 10 rows visits on average.
        curve: of margins for 10 rows, ascending; the last one's shards hold all of them.
    """

    margins: Margins | None
    share: float
    curve: tuple[VisitPoint, ...]

    def share_at(self, k: int) -> float:
        """The share of the shards that a query for k rows visits, by a line between the points of the curve."""
        if self.margins is None:
            return 1.0
        margin = float(self.margins.of(np.array([k], np.float64))[0])
        points = [point.margin for point in self.curve]
        if margin > points[-1]:
            return 1.0
        return float(np.interp(margin, points, [point.share for point in self.curve]))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any] | None) -> VisitContract | None:
        """From its JSON data, None from null; TypeError or KeyError for another format."""
        if plain is None:
            return None
        margins = None if plain["margins"] is None else Margins(**plain["margins"])
        return cls(margins, plain["share"], tuple(VisitPoint(**point) for point in plain["curve"]))


@dataclass(frozen=True)
class RecallContract:
    """How close this index comes to exact search, without the rows that were forgotten when it was measured.

    Attributes:
        asked: recall@10 asked for.
        met: whether a measured efSearch reaches it on the captions.
        ef_search: the least measured value that reaches it, or the best one when `met` is false; larger where that
            brings the strata to it too. Searches use it.
        query_modality: "text" (captions), or "image" for a store without text embeddings, whose figures do not tell
            the recall of text queries.
        queries: number of queries measured, of the `queries_asked`.
        seed: of the sample of queries.
        neighbours: rows that count at 10 and at 100; fewer in a smaller store.
        curve: recall at each measured efSearch.
        strata: hard queries, none where the store has neither crowds nor forgotten rows in the index.
        forgotten: rows of the store that were forgotten when recall was measured.
        visits: which shards a query visits; None where it visits all.
    """

    asked: float
    met: bool
    ef_search: int
    query_modality: Modality
    queries: int
    queries_asked: int
    seed: int
    neighbours: tuple[int, int]
    curve: tuple[CurvePoint, ...]
    strata: tuple[Stratum, ...] = ()
    forgotten: int = 0
    visits: VisitContract | None = None

    @property
    def recall_at_10(self) -> float:
        """recall@10 at `ef_search` on the captions."""
        return self.curve[self._place].recall_at_10

    @property
    def least_recall_at_10(self) -> float:
        """recall@10 at `ef_search` on the captions or on the stratum where it is the least."""
        return min([self.recall_at_10, *(stratum.recall_at_10[self._place] for stratum in self.strata)])

    def visited(self, shards: int, k: int) -> float | None:
        """How many of so many shards a query for k rows visits on average; None where it visits all."""
        return None if self.visits is None else shards * self.visits.share_at(k)

    @property
    def _place(self) -> int:
        return next(place for place, point in enumerate(self.curve) if point.ef_search == self.ef_search)

    def is_present(self, forgotten: int) -> bool:
        """Whether the figures hold for a store with so many forgotten rows; more may have been forgotten since."""
        return forgotten == self.forgotten

    def sentence(self, forgotten: int | None = None) -> str:
        """The contract as one line, which says when it is not met, not measured with text, or out of date.

        forgotten: the rows of the store that are forgotten now.
        """
        reached = f"recall@10 {self.recall_at_10:.3f} at efSearch {self.ef_search}"
        on = f"{self.queries:,} captions" if self.query_modality == "text" else f"{self.queries:,} images as queries"
        if self.visits is not None:
            reached += f" in {self.visits.share:.0%} of the shards"
        line = f"{reached} on {on} against exact search (asked {self.asked:g})"
        for stratum in self.strata:
            share = stratum.recall_at_10[self._place]
            line += f"; {share:.3f} on {stratum.queries:,} queries {stratum.name}"
            if share < self.asked:
                line += " (search there with the method exact)"
        if not self.met:
            line += "; no efSearch measured reaches it: raise M or efConstruction, or search with the method exact"
        if self.query_modality == "image":
            line += "; the store has no text embeddings, so this says nothing about text queries"
        if forgotten is not None and not self.is_present(forgotten):
            line += f"; measured before {forgotten - self.forgotten:,} more rows were forgotten"
        return line

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> RecallContract:
        """A contract from its JSON data; TypeError or KeyError for another format."""
        made = dict(plain)
        made["curve"] = tuple(CurvePoint(**point) for point in plain["curve"])
        made["neighbours"] = tuple(plain["neighbours"])
        made["strata"] = tuple(
            Stratum(each["name"], each["queries"], tuple(each["recall_at_10"])) for each in plain["strata"]
        )
        made["visits"] = VisitContract.from_json(plain.get("visits"))
        return cls(**made)
