"""Clipmine in Python: embed and index a corpus, retrieve, customize, mine, annotate, tune.

    import clipmine
    store = clipmine.embed("photos/", "store", model="ViT-B-32", pretrained="openai")
    clipmine.index("store")
    selection = clipmine.retrieve("store", ["goldfish", "bald eagle"], out="selection")
    selection.to_pandas()

Names are imported when they are first used, so `import clipmine` takes as long as `clipmine --help`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from customize.clip.model_folder import load_customized
    from index.encoder.model_spec import ModelSpec
    from index.errors import ClipmineError
    from index.store.adopt import adopt_store
    from index.store.embedding_store import EmbeddingStore
    from index.verify import verify_store
    from jobs.api import customize, evaluate, index, retrieve
    from jobs.api_corpus import download, embed
    from jobs.api_image_sets import annotate, evaluate_lmm, import_sets, mine, tune
    from jobs.frames_out import to_arrow, to_spark
    from mining.sets.concat import concat_image_sets
    from mining.sets.image_sets import ImageSets
    from retrieval.client.async_client import AsyncClient
    from retrieval.client.client import Client
    from retrieval.concepts import load_concepts
    from retrieval.export.export import export_selection
    from retrieval.export.fetch import fetch_selection
    from retrieval.rules import Rules
    from retrieval.search.retriever import Retriever
    from retrieval.selection import Selection

_PLACES = {
    "AsyncClient": "retrieval.client.async_client",
    "Client": "retrieval.client.client",
    "ClipmineError": "index.errors",
    "EmbeddingStore": "index.store.embedding_store",
    "ImageSets": "mining.sets.image_sets",
    "ModelSpec": "index.encoder.model_spec",
    "Retriever": "retrieval.search.retriever",
    "Rules": "retrieval.rules",
    "Selection": "retrieval.selection",
    "adopt_store": "index.store.adopt",
    "annotate": "jobs.api_image_sets",
    "concat_image_sets": "mining.sets.concat",
    "customize": "jobs.api",
    "download": "jobs.api_corpus",
    "embed": "jobs.api_corpus",
    "evaluate": "jobs.api",
    "evaluate_lmm": "jobs.api_image_sets",
    "export_selection": "retrieval.export.export",
    "fetch_selection": "retrieval.export.fetch",
    "import_sets": "jobs.api_image_sets",
    "index": "jobs.api",
    "load_concepts": "retrieval.concepts",
    "load_customized": "customize.clip.model_folder",
    "mine": "jobs.api_image_sets",
    "retrieve": "jobs.api",
    "to_arrow": "jobs.frames_out",
    "to_spark": "jobs.frames_out",
    "tune": "jobs.api_image_sets",
    "verify_store": "index.verify",
}

__all__ = [
    "AsyncClient",
    "Client",
    "ClipmineError",
    "EmbeddingStore",
    "ImageSets",
    "ModelSpec",
    "Retriever",
    "Rules",
    "Selection",
    "adopt_store",
    "annotate",
    "concat_image_sets",
    "customize",
    "download",
    "embed",
    "evaluate",
    "evaluate_lmm",
    "export_selection",
    "fetch_selection",
    "import_sets",
    "index",
    "load_concepts",
    "load_customized",
    "mine",
    "retrieve",
    "to_arrow",
    "to_spark",
    "tune",
    "verify_store",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'clipmine' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value  # the next access is an ordinary one
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
