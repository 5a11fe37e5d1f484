"""The retrieve job: a concept list in, a selection out, with progress."""

from __future__ import annotations

from typing import Any

from jobs.progress import Progress
from retrieval.retrieve import retrieve
from retrieval.selection import Selection


def run_retrieve(store: str, concepts: str, out: str, **choices: Any) -> Selection:
    """`retrieval.retrieve.retrieve` with its progress on stderr; `choices` are its keyword arguments."""
    with Progress("retrieve", unit="queries") as progress:
        return retrieve(store, concepts, out=out, on_progress=progress.reach, **choices)
