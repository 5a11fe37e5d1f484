"""What the routes need of whatever answers them: one process (`local.py`) or replicas on a cluster (`jobs.serve_ray.start`).

Methods are coroutines that may wait in a bounded queue; they raise `Overloaded` when that is full. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["Backend", "Found", "Overloaded", "Texts", "Unavailable"]


class Overloaded(ClipmineError):
    """The queue is full; ask again after `retry_after` seconds."""

    def __init__(self, what: str, retry_after: int = 1) -> None:
        super().__init__(f"too many requests wait for {what}; try again in {retry_after} s")
        self.retry_after = retry_after


class Unavailable(ClipmineError):
    """What is needed cannot answer now (a replica is being replaced, memory ran out); try again later."""

    def __init__(self, message: str, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Texts:
    """vectors float16 [n, d] unit rows; cut: which texts were longer than the context."""

    vectors: npt.NDArray[np.float16]
    cut: list[bool]


@dataclass(frozen=True)
class Found:
    """scores float32 [q, k] falling, row_ids int64 [q, k]; -inf and -1 where fewer were found.

    plan: one line, how and why so. missing: names of the shards that did not answer; their rows are not among these.
    """

    scores: npt.NDArray[np.float32]
    row_ids: npt.NDArray[np.int64]
    plan: str
    missing: tuple[str, ...] = ()


class Backend(Protocol):
    """An open store that encodes, searches and looks up."""

    store: EmbeddingStore  # open where the routes run: metadata, rules and images are read from it
    name: str

    async def encode_texts(self, texts: Sequence[str]) -> Texts:
        """Encode texts; equal texts give equal vectors in every batch."""
        ...

    async def encode_images(self, images: Sequence[bytes]) -> npt.NDArray[np.float16]:
        """Decode and encode image files: unit rows [n, d]. BadInput names the image that cannot be decoded."""
        ...

    async def search(
        self,
        vectors: npt.NDArray[np.floating[Any]],
        modality: Modality,
        k: int,
        method: str | None = None,
        exclude: npt.NDArray[np.int64] | None = None,
    ) -> Found:
        """The k rows nearest to each of the unit rows [q, d]; k is at most the store's rows.

        method: "hnsw", "exact", or None for the planner's choice.
        """
        ...

    def plan(self, modality: Modality, queries: int, k: int, method: str | None = None) -> str:
        """ "hnsw" or "exact": what the planner chooses for so many queries at once."""
        ...

    def indexes(self) -> list[dict[str, Any]]:
        """Fields of `wire.IndexInfo`, one a modality that can be searched."""
        ...

    async def ready(self) -> str | None:
        """None when searches will be answered; else one line that says what is missing."""
        ...

    async def close(self) -> None:
        """Finish what runs, then release all."""
        ...
