"""Clients of the retrieval service, blocking and for asyncio: `from retrieval.client import Client, AsyncClient`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from index.moved import moved_name

if TYPE_CHECKING:
    from retrieval.client.async_client import AsyncClient
    from retrieval.client.client import Client
    from retrieval.client.remote import retrieve_remote

__all__ = ["AsyncClient", "Client", "retrieve_remote"]

# Imported at their first use, since they import httpx and pydantic.
_MODULES = {"AsyncClient": "async_client", "Client": "client", "retrieve_remote": "remote"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"retrieval.client.{_MODULES[name]}"), name)
    moved_name(__name__, name)
