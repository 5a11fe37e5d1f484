"""`clipmine forget`: rows by key, URL, SHA-256 sum and row id, from lists as they come, and its exit status."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from index.store.embedding_store import EmbeddingStore
from index.store.output_register import register_output
from jobs.cli import run
from retrieval import retrieve
from tests.jobs.running import Fails, Run, counts
from tests.retrieval.stores import make_store, random_unit
from tests.retrieval.words import WordEncoder


def test_keys_and_row_ids_are_forgotten_together(store: Path, tmp_path: Path, clipmine: Run) -> None:
    keys = EmbeddingStore.open(store).metadata([3, 4], ["key"])["key"].to_pylist()
    (tmp_path / "keys.txt").write_text("\n".join(["# asked for by their owner", *keys]))
    (tmp_path / "rows.txt").write_text("4\n\n  # a comment\n9\n")
    lines = clipmine("forget", store, "--keys", tmp_path / "keys.txt", "--rows", tmp_path / "rows.txt")
    assert counts(lines) == {"rows forgotten now": 3, "forgotten before": 0}
    assert lines[-1] == f"next: clipmine compact {store}"
    assert EmbeddingStore.open(store).forgotten.tolist() == [3, 4, 9]


def test_a_list_of_a_spreadsheet_forgets_its_first_key_too(store: Path, tmp_path: Path, clipmine: Run) -> None:
    keys = EmbeddingStore.open(store).metadata([3, 4], ["key"])["key"].to_pylist()
    (tmp_path / "keys.csv").write_bytes(b"\xef\xbb\xbf" + f"{keys[0]}\r\n{keys[1]} \r\n".encode())
    assert counts(clipmine("forget", store, "--keys", tmp_path / "keys.csv"))["rows forgotten now"] == 2
    (tmp_path / "again.csv").write_text(f"key,reason\n{keys[0]},privacy\n")
    lines = clipmine("forget", store, "--keys", tmp_path / "again.csv")
    assert counts(lines)["forgotten before"] == 1
    assert any(line.split() == ["header", "skipped", "key"] for line in lines)


def test_urls_and_sums_are_forgotten(tmp_path: Path, clipmine: Run) -> None:
    opened = make_store(tmp_path, random_unit(20))
    (tmp_path / "urls.txt").write_bytes("url\r\nhttp://example.org/7.jpg\r\n".encode("utf-16"))
    (tmp_path / "sums.txt").write_text(f"{opened.metadata([2], ['sha256'])['sha256'][0].as_py()}  a picture.jpg\n")
    clipmine("forget", opened.path, "--urls", tmp_path / "urls.txt", "--sha256", tmp_path / "sums.txt")
    assert opened.forgotten.tolist() == [2, 7]


def test_the_status_tells_a_script_that_some_entries_are_of_no_row(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], fails: Fails
) -> None:
    key = EmbeddingStore.open(store).metadata([3], ["key"])["key"][0].as_py()
    (tmp_path / "keys.txt").write_text(f"{key}\nno such key\n")
    assert run(["forget", str(store), "--keys", str(tmp_path / "keys.txt")]) == 1
    said = capfd.readouterr()
    assert any(line.endswith("1: no such key") for line in said.out.splitlines())
    assert said.err == f"clipmine: 1 entry is of no row of {store} (the first is 'no such key'); check the spelling\n"
    assert EmbeddingStore.open(store).forgotten.tolist() == [3]
    (tmp_path / "keys.txt").write_text("no such key\nnor this\n")
    line, status = fails("forget", store, "--keys", tmp_path / "keys.txt")
    assert status == 2
    assert "has no row with any of the 2 keys (the first is 'no such key')" in line


def test_outputs_that_hold_forgotten_rows_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    opened = make_store(tmp_path, random_unit(20), random_unit(20, seed=1))
    encoder = WordEncoder({"dog": random_unit(1, seed=5)[0]}, 8)
    selection = retrieve(opened, ["dog"], out=tmp_path / "dogs", k=5, templates="name", encoder=encoder)  # type: ignore[arg-type]
    register_output(opened, "export", str(tmp_path / "gone"), ("*.parquet",))
    row = selection.table(["row_id"])["row_id"][0].as_py()
    (tmp_path / "rows.txt").write_text(f"{row}\n")
    assert run(["forget", str(opened.path), "--rows", str(tmp_path / "rows.txt"), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["outputs"] == [{"kind": "selection", "path": selection.path, "rows": 1}]
    assert run(["forget", str(opened.path), "--rows", str(tmp_path / "rows.txt")]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("still in")]
    assert f"selection {selection.path}: 1 row; run the same `clipmine retrieve` again" in line


def test_a_minus_is_standard_input(store: Path, clipmine: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"7\n# no more\n")))
    assert counts(clipmine("forget", store, "--rows", "-"))["rows forgotten now"] == 1
    assert EmbeddingStore.open(store).forgotten.tolist() == [7]


def test_it_needs_to_be_told_what(store: Path, tmp_path: Path, fails: Fails) -> None:
    said = "clipmine: error: say what to forget: --keys FILE, --urls FILE, --sha256 FILE or --rows FILE"
    assert fails("forget", store) == (said, 2)
    line, status = fails("forget", store, "--rows", "-", "--keys", "-")
    assert (status, "two lists cannot both be standard input" in line) == (2, True)
    (tmp_path / "rows.txt").write_text("4\nfive\n")
    line, status = fails("forget", store, "--rows", tmp_path / "rows.txt")
    assert "'five' is not a row id; write one whole number a line" in line
    assert status == 2
