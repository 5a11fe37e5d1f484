"""A selection of a small store, for the tests of exports."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval import Selection, retrieve
from tests.retrieval.stores import make_store, random_unit
from tests.retrieval.words import WordEncoder

DIM = 8
WORDS = {"dog": random_unit(1, seed=5)[0], "cat": random_unit(1, seed=6)[0]}


def select(store: EmbeddingStore, out: Path, **choices: Any) -> Selection:
    arguments: dict[str, Any] = {"k": 8, "templates": "name", "mode": "t2i", "concepts": ["dog", "cat"], **choices}
    return retrieve(store, out=out, encoder=WordEncoder(WORDS, DIM), **arguments)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return make_store(tmp_path, random_unit(40))


@pytest.fixture
def selection(store: EmbeddingStore, tmp_path: Path) -> Selection:
    return select(store, tmp_path / "selection")


def members(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                stream = tar.extractfile(member)
                assert stream is not None
                found[member.name] = stream.read()
    return found
