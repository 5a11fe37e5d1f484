"""`clipmine compact`: forgotten rows are erased, and a store without any is left alone."""

from __future__ import annotations

import json
from pathlib import Path

from index.store.embedding_store import EmbeddingStore
from tests.folders import file_times
from tests.jobs.running import Run, counts


def test_forgotten_rows_become_zero_vectors(store: Path, tmp_path: Path, clipmine: Run) -> None:
    (tmp_path / "rows.txt").write_text("3\n4\n9\n")
    clipmine("forget", store, "--rows", tmp_path / "rows.txt")
    lines = clipmine("compact", store)
    assert counts(lines) == {"rows erased": 3, "parts rewritten": 1}
    assert lines[-1] == f"next: clipmine index {store}"
    opened = EmbeddingStore.open(store)
    assert opened.rows == 33
    assert not opened.embeddings("image", 0)[3].any()
    assert opened.embeddings("image", 0)[5].any()


def test_a_second_run_finds_nothing_more(store: Path, tmp_path: Path, clipmine: Run) -> None:
    (tmp_path / "rows.txt").write_text("20\n")
    clipmine("forget", store, "--rows", tmp_path / "rows.txt")
    clipmine("compact", store)
    before = EmbeddingStore.open(store).embeddings("text", 1)
    clipmine("compact", store)
    assert (EmbeddingStore.open(store).embeddings("text", 1) == before).all()


def test_nothing_forgotten_changes_no_file(store: Path, clipmine: Run) -> None:
    before = file_times(store)
    assert json.loads(clipmine("compact", store, "--json")[0]) == {"rows": 0, "parts": 0}
    assert file_times(store) == before
