"""The embedding store: the job that writes it, reading it, adopting a foreign one, removing rows.

from index.store import EmbeddingStore
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from index.moved import moved_name

if TYPE_CHECKING:
    from index.store.embedding_store import EmbeddingStore

__all__ = ["EmbeddingStore"]


def __getattr__(name: str) -> object:
    """Import `EmbeddingStore` at its first use: it loads numpy and pyarrow, which other modules here do without."""
    if name == "EmbeddingStore":
        from index.store.embedding_store import EmbeddingStore

        return EmbeddingStore
    moved_name(__name__, name)
