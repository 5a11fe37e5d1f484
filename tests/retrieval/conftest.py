"""The served store and the server, for the tests of the clients."""

from __future__ import annotations

from tests.retrieval.service.conftest import serve, served_store

__all__ = ["serve", "served_store"]
