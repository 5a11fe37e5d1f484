"""What all requests together may take of the service: queries in progress, memory, places for concept lists.

A request takes everything that it needs in one step, before any work, and gives it back when its work has ended,
however it ends. Used from the event loop only, where a step without `await` cannot be interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from index.errors import BadInput
from retrieval.service.backend import Overloaded
from retrieval.service.settings import Settings

__all__ = ["Admission", "Budget", "Place"]

SEARCH_RETRY, LIST_RETRY = 1, 5  # seconds


@dataclass
class Budget:
    """An amount of one resource. what: what its users wait for, in messages."""

    what: str
    most: int
    taken: int = 0


class Place:
    """What one request has taken. `give_back` returns it; further calls do nothing."""

    def __init__(self, shares: list[tuple[Budget, int]]) -> None:
        self._shares = shares

    def give_back(self) -> None:
        for budget, amount in self._shares:
            budget.taken -= amount
        self._shares = []

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.give_back()


class Admission:
    """The budgets of one app.

    A request that is alone may exceed `Settings.queue`, as one that fits the other limits; beyond a budget of memory it
    is refused for good (BadInput), since waiting would not help.
    """

    def __init__(self, settings: Settings) -> None:
        self.queries = Budget("an answer", settings.queue)
        self.search_bytes = Budget("an answer", settings.search_bytes)
        self.lists = Budget("a concept list's turn", settings.concept_jobs)
        self.list_bytes = Budget("memory for a concept list", settings.list_bytes)
        self.images = Budget("an image", settings.queue)

    def search(self, queries: int, needed: int) -> Place:
        """A place for a search of so many queries that needs so many bytes. Raises BadInput, Overloaded."""
        if needed > self.search_bytes.most:
            raise BadInput(
                f"{queries} queries: would take {_size(needed)} of memory, at most {_size(self.search_bytes.most)} "
                "here; send fewer, or ask for fewer rows"
            )
        alone = not self.queries.taken
        return _take([(self.queries, queries), (self.search_bytes, needed)], SEARCH_RETRY, alone)

    def concept_list(self, needed: int) -> Place:
        """A place for a concept list that needs so many bytes. Raises BadInput, Overloaded."""
        if needed > self.list_bytes.most:
            raise BadInput(
                f"this list's candidates would take {_size(needed)} of memory, at most {_size(self.list_bytes.most)} "
                "here; send it in parts, or ask for fewer rows (k, reserve) or fewer templates"
            )
        return _take([(self.lists, 1), (self.list_bytes, needed)], LIST_RETRY)

    def image(self) -> Place:
        """A place for reading one image. Raises Overloaded."""
        return _take([(self.images, 1)], SEARCH_RETRY)


def _take(shares: list[tuple[Budget, int]], retry_after: int, alone: bool = False) -> Place:
    for budget, amount in shares:
        if budget.taken + amount > budget.most and not alone:
            raise Overloaded(budget.what, retry_after)
    for budget, amount in shares:
        budget.taken += amount
    return Place(shares)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
