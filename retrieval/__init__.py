"""From a concept list to a selection of rows: search, rules, export, and the HTTP service with its clients.

Modules here import neither training code nor Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from index.moved import watch_moved_imports
from retrieval.concepts import Concept, ConceptList, concept_list, load_concepts
from retrieval.export.export import ExportSummary, export_selection
from retrieval.export.fetch import FetchSummary, fetch_selection
from retrieval.retrieve import retrieve
from retrieval.rules import Rules
from retrieval.selection import Selection
from retrieval.templates import Templates, load_templates

watch_moved_imports()

if TYPE_CHECKING:
    from retrieval.client.async_client import AsyncClient
    from retrieval.client.client import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Concept",
    "ConceptList",
    "ExportSummary",
    "FetchSummary",
    "Rules",
    "Selection",
    "Templates",
    "concept_list",
    "export_selection",
    "fetch_selection",
    "load_concepts",
    "load_templates",
    "retrieve",
]

# The clients import httpx and pydantic, so they are imported only when they are first used.
_LATER = {"AsyncClient": "retrieval.client.async_client", "Client": "retrieval.client.client"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
