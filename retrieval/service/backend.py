"""The interface between the routes and what answers them: one process (`local_backend.py`), or Ray (`jobs.serve_ray`).

Methods that encode or search are coroutines and may wait in a bounded queue; they raise `Overloaded` when it is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore, Modality
from retrieval.search.planner import SearchPlan

__all__ = ["Backend", "Found", "Overloaded", "Texts", "Unavailable"]


class Overloaded(ClipmineError):
    """The queue is full; ask again after `retry_after` seconds. bound: the name of the setting that says how much is
    too much."""

    def __init__(self, what: str, retry_after: int = 1, *, bound: str = "queue") -> None:
        super().__init__(f"too many requests wait for {what}; try again in {retry_after} s")
        self.retry_after, self.bound = retry_after, bound


class Unavailable(ClipmineError):
    """A part of the service cannot answer now (a replica is being replaced, memory ran out); try again later."""

    def __init__(self, message: str, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Texts:
    """Encoded texts. vectors: float16 [n, d], unit rows; cut: which texts were longer than the model's context."""

    vectors: npt.NDArray[np.float16]
    cut: list[bool]


@dataclass(frozen=True)
class Found:
    """Results of q queries. scores: float32 [q, k], falling; row_ids: int64 [q, k]; -inf and -1 where fewer were found.

    plan: one line, the method and why. missing: names of the shards that did not answer, whose rows are missing here.
    """

    scores: npt.NDArray[np.float32]
    row_ids: npt.NDArray[np.int64]
    plan: str
    missing: tuple[str, ...] = ()


class Backend(Protocol):
    """An open store that encodes, searches and looks up."""

    store: EmbeddingStore  # open in the routes' process, which reads metadata and images from it and applies rules
    name: str  # what clients call the store
    generation: str  # of the store and its indexes as they are open; another one when the files have changed

    async def encode_texts(self, texts: Sequence[str], *, repeatable: bool = False) -> Texts:
        """Encode texts. repeatable: to the same bits whatever is encoded with them, as `clipmine retrieve` does."""
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

    async def plan(self, modality: Modality, queries: int, k: int, method: str | None = None) -> SearchPlan:
        """How so many queries would be searched at once: the method, and the seconds that it is expected to take."""
        ...

    def indexes(self) -> list[dict[str, Any]]:
        """The fields of `schemas.IndexInfo` for each modality that can be searched."""
        ...

    async def ready(self) -> str | None:
        """None when searches will be answered; otherwise one line that says why not. Waits for no queue."""
        ...

    async def newer(self) -> Backend | None:
        """A backend over the store as it is on the disk now; None when that is what this one serves.

        Raises ClipmineError while the store on the disk cannot be opened.
        """
        ...

    async def close(self) -> None:
        """Finish the requests that run, then release threads and files."""
        ...
