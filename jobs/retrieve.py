"""The retrieve job: a concept list in, a selection out, with progress; from a store here or from a service."""

from __future__ import annotations

import os
from typing import Any

from jobs.progress import Progress
from retrieval.retrieve import retrieve
from retrieval.selection import Selection


def run_retrieve(store: str, concepts: str, out: str, **choices: Any) -> Selection:
    """`retrieval.retrieve.retrieve` with its progress on stderr; `choices` are its keyword arguments."""
    with Progress("retrieve", unit="queries") as progress:
        return retrieve(store, concepts, out=out, on_progress=progress.reach, **choices)


def run_retrieve_remote(url: str, concepts: str, out: str, **choices: Any) -> Selection:
    """`retrieval.client.remote.retrieve_remote` likewise; its token is in the environment, which no process list shows."""
    from retrieval.client.remote import retrieve_remote

    with Progress("retrieve", unit="queries") as progress:
        return retrieve_remote(
            url,
            concepts,
            out=out,
            token=os.environ.get("CLIPMINE_TOKEN") or None,
            on_progress=progress.reach,
            **choices,
        )
