"""What requests may take of the service: one client at most its share, and all together no more than there is.

A request takes everything that it needs in one step, before any work, and gives it back when its work has ended,
however it ends. Used from the event loop only, where a step without `await` cannot be interrupted.

Who asks is known to all that runs for a request by a context variable, which `retrieval.service.security` sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from retrieval.service.backend import Overloaded
from retrieval.service.limits import OverLimit
from retrieval.service.settings import Settings

__all__ = ["CLIENT", "Admission", "Budget", "GrowingPlace", "Place"]

SEARCH_RETRY, LIST_RETRY = 1, 5  # seconds

# Who sent the request that is being answered: a bearer token's place in the list, or an address.
CLIENT: ContextVar[str] = ContextVar("clipmine_client", default="")


@dataclass
class Budget:
    """An amount of one resource. name: of the setting that says how much. what: what its users wait for, in messages.

    share: the part of `most` that one client may have. taken: by all; by_client: those who have some.
    """

    name: str
    what: str
    most: int
    share: float = 1.0
    taken: int = 0
    by_client: dict[str, int] = field(default_factory=dict)

    @property
    def most_of_one(self) -> int:
        """The most that one client may have."""
        return max(1, int(self.most * self.share))

    def fits(self, amount: int, client: str) -> bool:
        """Whether the client may take so much now."""
        return self.taken + amount <= self.most and self.by_client.get(client, 0) + amount <= self.most_of_one

    def take(self, amount: int, client: str) -> None:
        """Count an amount, which is given back by its negative."""
        self.taken += amount
        own = self.by_client.get(client, 0) + amount
        if own:
            self.by_client[client] = own
        else:
            self.by_client.pop(client, None)


class Place:
    """What one request has taken. `give_back` returns it; further calls do nothing."""

    def __init__(self, shares: Sequence[tuple[Budget, int]] = (), client: str = "") -> None:
        self._shares, self._client = shares, client

    def give_back(self) -> None:
        for budget, amount in self._shares:
            budget.take(-amount, self._client)
        self._shares = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.give_back()


class GrowingPlace(Place):
    """What one request has taken of a budget so far."""

    def __init__(self, budget: Budget, client: str, retry_after: int) -> None:
        super().__init__((), client)
        self._budget, self._retry_after = budget, retry_after

    def grow(self, amount: int) -> None:
        """Take more. Raises Overloaded where that does not fit."""
        if not self._budget.fits(amount, self._client):
            raise Overloaded(self._budget.what, self._retry_after, bound=self._budget.name)
        self._budget.take(amount, self._client)
        self._shares = [(self._budget, amount + sum(taken for _, taken in self._shares))]


class Admission:
    """The budgets of one app.

    A request that is alone may exceed `Settings.queue` and `Settings.queue_seconds`, as one that fits the other limits.
    Beyond a budget of memory a request is refused for good (OverLimit), since waiting would not help.
    """

    def __init__(self, settings: Settings) -> None:
        share, self.search_seconds = settings.client_share, settings.search_seconds
        self.requests = Budget("requests", "their turn", settings.requests, share)
        self.bodies = Budget("body_bytes", "memory for its body", settings.body_bytes, share)
        self.queries = Budget("queue", "an answer", settings.queue, share)
        self.work = Budget("queue_seconds", "an answer", round(settings.queue_seconds * 1e3), share)  # in ms
        self.search_bytes = Budget("search_bytes", "an answer", settings.search_bytes, share)
        self.decoding = Budget("decode_bytes", "memory to decode its images", settings.decode_bytes, share)
        self.lists = Budget("concept_jobs", "a concept list's turn", settings.concept_jobs, share)
        self.list_bytes = Budget("list_bytes", "memory for a concept list", settings.list_bytes, share)

    @property
    def budgets(self) -> Sequence[Budget]:
        """All of them."""
        return [budget for budget in vars(self).values() if isinstance(budget, Budget)]

    def search(self, queries: int, needed: int, seconds: float = 0.0) -> Place:
        """A place for a search of so many queries that needs so many bytes, and is expected to take so many seconds.

        Raises OverLimit, Overloaded.
        """
        _check_memory(self.search_bytes, needed, f"{queries} queries", "send fewer, or ask for fewer rows")
        shares = [(self.queries, queries), (self.work, round(seconds * 1e3)), (self.search_bytes, needed)]
        return _take(shares, SEARCH_RETRY, alone=not self.queries.taken)

    def answer(self, needed: int) -> Place:
        """A place for an answer of so many bytes, until it has been read. Raises OverLimit, Overloaded."""
        _check_memory(self.search_bytes, needed, "the answer", "ask for less")
        return _take([(self.search_bytes, needed)], SEARCH_RETRY)

    def concept_list(self, needed: int) -> Place:
        """A place for a concept list that needs so many bytes. Raises OverLimit, Overloaded."""
        ways = (
            "send it in parts, ask for fewer rows (k, reserve) or fewer templates, or have the operator allow more "
            "(--list-memory)"
        )
        _check_memory(self.list_bytes, needed, "this list's candidates", ways)
        return _take([(self.lists, 1), (self.list_bytes, needed)], LIST_RETRY)

    def body(self, needed: int) -> Place:
        """A place for what a body of so many bytes is parsed into. Raises Overloaded."""
        return _take([(self.bodies, needed)], SEARCH_RETRY)

    def fetched(self) -> GrowingPlace:
        """A place for images that are fetched for a request: it takes more as they come."""
        return GrowingPlace(self.bodies, CLIENT.get(), SEARCH_RETRY)

    def decode(self, needed: int, seconds: float) -> Place:
        """A place for decoding images that need so many bytes and seconds. Raises OverLimit, Overloaded."""
        _check_memory(self.decoding, needed, "decoding the images", "send fewer or smaller ones")
        if seconds > self.search_seconds:
            most = f"at most {self.search_seconds:g} s here; send fewer or smaller ones"
            raise OverLimit("search_seconds", f"decoding the images: expected to take {seconds:.3g} s, {most}")
        return _take([(self.decoding, needed), (self.work, round(seconds * 1e3))], SEARCH_RETRY)


def _check_memory(budget: Budget, needed: int, what: str, ways: str) -> None:
    if needed > budget.most_of_one:
        most = f"at most {_size(budget.most_of_one)} here for one client"
        raise OverLimit(budget.name, f"{what}: would take {_size(needed)} of memory, {most}; {ways}")


def _take(shares: list[tuple[Budget, int]], retry_after: int, alone: bool = False) -> Place:
    client = CLIENT.get()
    for budget, amount in shares:
        if not (alone or budget.fits(amount, client)):
            raise Overloaded(budget.what, retry_after, bound=budget.name)
    for budget, amount in shares:
        budget.take(amount, client)
    return Place(shares, client)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
