"""Image sets for a person to review: a page at a time, filtered, each with the decision about it. Without HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput, StoreInvalid
from index.store.embedding_store import EmbeddingStore
from mining.sets.decisions import Decision, DecisionsFile
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from mining.sets.sources import is_store

__all__ = ["NoSuchSet", "PairsQuery", "Review"]

# Sets whose text one request searches, which takes about a second. The answer says where the next one goes on.
_LOOKED_AT = 10_000

Numbers = npt.NDArray[np.int64]


class NoSuchSet(BadInput):
    """There is no set with that id, or one of its rows was forgotten."""


@dataclass(frozen=True)
class PairsQuery:
    """The filters of a page of sets; None for no filter.

    text: searched without regard to case in captions, shared nouns, the concept and the entity. decision: reject, keep
    or undecided. cursor: the `next` of the page before. limit: sets a page.
    """

    strategy: str | None = None
    level: int | None = None
    text: str | None = None
    decision: str | None = None
    cursor: int = 0
    limit: int = 20

    def met_by(self, each: ImageSet, decision: Decision | None) -> bool:
        """Whether a set meets `decision` and `text`."""
        if self.decision is not None and (decision or "undecided") != self.decision:
            return False
        wanted = (self.text or "").casefold()
        texts = (*each.captions, *each.shared_nouns, each.concept, each.entity)
        return not wanted or any(wanted in text.casefold() for text in texts if text)


class Review:
    """Image sets with the decisions about them. Safe for threads."""

    def __init__(self, sets: ImageSets, store: EmbeddingStore, decisions: DecisionsFile) -> None:
        """store: the store that is served, whose images are shown. Raises StoreInvalid when it is not the mined one."""
        stores = [source for source in sets.sources.values() if source.kind == "store"]
        if stores and not any(is_store(source.name, store, source.parts) for source in stores):
            raise StoreInvalid(
                f"{sets.path}: was not mined from {store.path}, which has other images; serve the store "
                f"{stores[0].path}, or mine this one"
            )
        self.sets, self.store, self.decisions = sets, store, decisions

    def page(self, query: PairsQuery) -> dict[str, Any]:
        """The fields of `routes.PairsResponse`."""
        numbers = self._matching(query)
        rest = numbers[np.searchsorted(numbers, query.cursor) :][:_LOOKED_AT]
        found: list[dict[str, Any]] = []
        looked_at, after = 0, None
        for each in self.sets.read(rest):
            if len(found) == query.limit:
                break
            looked_at += 1
            decision = self.decisions.of(each)
            if query.met_by(each, decision) and not self._is_forgotten(each):
                found.append({**each.to_json(), "decision": decision})
        left = numbers[np.searchsorted(numbers, query.cursor) + looked_at :]
        if len(left):
            after = int(left[0])
        return {"sets": found, "next": after, "matching": len(numbers), "looked_at": looked_at, "counts": self.counts}

    def find(self, set_id: str) -> dict[str, Any]:
        """One set with its decision. Raises NoSuchSet."""
        each = self._find(set_id)
        return {**each.to_json(), "decision": self.decisions.of(each)}

    def decide(self, set_id: str, decision: Decision) -> None:
        """Append a decision to the file; it is on the disk when this returns. Raises NoSuchSet."""
        each = self._find(set_id)
        self.decisions.add(each, decision, self.sets.sources)

    @cached_property
    def counts(self) -> list[dict[str, Any]]:
        """How many sets each strategy has at each level."""
        return [
            {"strategy": strategy, "level": level, "sets": count}
            for (strategy, level), count in self.sets.counts().items()
        ]

    @cached_property
    def _columns(self) -> pa.Table:
        return self.sets.table(["strategy", "level"])

    @cached_property
    def _set_ids(self) -> pa.ChunkedArray:
        return self.sets.table(["set_id"])["set_id"]  # 20 bytes a set; searching a hundred million takes a second

    def _matching(self, query: PairsQuery) -> Numbers:
        good = np.ones(len(self.sets), np.bool_)
        for name, value in (("strategy", query.strategy), ("level", query.level)):
            if value is not None:
                good &= np.asarray(pc.equal(self._columns[name], value)).astype(np.bool_)
        return self.sets.numbers[good]

    def _find(self, set_id: str) -> ImageSet:
        place = int(pc.index(self._set_ids, set_id).as_py())
        each = self.sets[place] if place >= 0 else None
        if each is None or self._is_forgotten(each):
            raise NoSuchSet(f"there is no set {set_id!r:.100}")
        return each

    def _is_forgotten(self, each: ImageSet) -> bool:
        rows = [row for row in each.rows if row is not None]
        return bool(rows) and bool(self.store.is_forgotten(rows).any())
