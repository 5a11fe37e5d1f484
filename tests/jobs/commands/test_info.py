"""`clipmine info`: rows, model and recall, and what to do where an index is missing or too old."""

from __future__ import annotations

import json
from pathlib import Path

from tests.jobs.running import Fails, Run, counts


def test_it_shows_rows_model_and_recall(store: Path, clipmine: Run) -> None:
    assert clipmine("info", store)[-1] == f"next: clipmine index {store}"
    clipmine("index", store, "--modality", "image")
    lines = clipmine("info", store)
    assert counts(lines) == {"rows": 33, "parts": 2}
    assert any(line.startswith("image index") for line in lines)
    assert any("recall@10" in line for line in lines)
    info = json.loads(clipmine("info", store, "--json")[0])
    assert [index["modality"] for index in info["indexes"]] == ["image"]


def test_forgotten_rows_are_counted(store: Path, tmp_path: Path, clipmine: Run) -> None:
    (tmp_path / "rows.txt").write_text("1\n2\n")
    clipmine("forget", store, "--rows", tmp_path / "rows.txt")
    assert counts(clipmine("info", store))["- forgotten"] == 2


def test_a_folder_that_is_no_store_is_one_line(tmp_path: Path, fails: Fails) -> None:
    line, status = fails("info", tmp_path)
    assert str(tmp_path) in line
    assert status == 2
