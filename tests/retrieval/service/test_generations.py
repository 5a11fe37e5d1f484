from __future__ import annotations

import shutil
from pathlib import Path

from index.files import write_atomic
from index.store.embedding_store import EmbeddingStore
from retrieval.service.generations import files_identity, generation_name


def test_a_generation_is_known_by_the_contents_of_its_files(served_store: EmbeddingStore, tmp_path: Path) -> None:
    shutil.copytree(served_store.path, tmp_path / "copy")
    copy = EmbeddingStore.open(tmp_path / "copy")
    assert generation_name(copy) == generation_name(served_store)
    assert files_identity(copy) != files_identity(served_store)
    manifest = copy.path / "index" / "image" / "index.json"
    name, identity = generation_name(copy), files_identity(copy)
    write_atomic(str(manifest), manifest.read_bytes())
    assert (generation_name(copy), files_identity(copy) == identity) == (name, False), "the same content again"
    write_atomic(str(manifest), manifest.read_bytes() + b"\n")
    assert generation_name(copy) != name


def test_an_index_that_is_not_there_yet_is_a_generation_too(served_store: EmbeddingStore, tmp_path: Path) -> None:
    shutil.copytree(served_store.path, tmp_path / "copy", ignore=shutil.ignore_patterns("index"))
    copy = EmbeddingStore.open(tmp_path / "copy")
    name, identity = generation_name(copy), files_identity(copy)
    shutil.copytree(served_store.path / "index", copy.path / "index")
    assert generation_name(copy) != name
    assert files_identity(copy) != identity
