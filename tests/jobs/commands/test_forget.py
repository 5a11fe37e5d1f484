"""`clipmine forget`: rows by key and by row id, from files and from standard input, with comments."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from index.store.embedding_store import EmbeddingStore
from tests.jobs.running import Fails, Run, counts


def test_keys_and_row_ids_are_forgotten_together(store: Path, tmp_path: Path, clipmine: Run) -> None:
    keys = EmbeddingStore.open(store).metadata([3, 4], ["key"])["key"].to_pylist()
    (tmp_path / "keys.txt").write_text("\n".join(["# asked for by their owner", *keys, "no such key"]))
    (tmp_path / "rows.txt").write_text("4\n\n  # a comment\n9\n")
    lines = clipmine("forget", store, "--keys", tmp_path / "keys.txt", "--rows", tmp_path / "rows.txt")
    assert counts(lines) == {"rows forgotten now": 3, "forgotten before": 0}
    assert any(line.endswith("1: no such key") for line in lines)
    assert lines[-1] == f"next: clipmine compact {store}"
    assert EmbeddingStore.open(store).forgotten.tolist() == [3, 4, 9]


def test_a_minus_is_standard_input(store: Path, clipmine: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"7\n# no more\n")))
    assert counts(clipmine("forget", store, "--rows", "-"))["rows forgotten now"] == 1
    assert EmbeddingStore.open(store).forgotten.tolist() == [7]


def test_it_needs_to_be_told_what(store: Path, tmp_path: Path, fails: Fails) -> None:
    assert fails("forget", store) == ("clipmine: error: say what to forget: --keys FILE or --rows FILE", 2)
    (tmp_path / "rows.txt").write_text("4\nfive\n")
    line, status = fails("forget", store, "--rows", tmp_path / "rows.txt")
    assert "'five' is not a row id; write one whole number a line" in line
    assert status == 2
