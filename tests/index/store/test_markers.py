"""Markers of embedded items are read as they were written, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.store.markers import ItemSummary, Marker, read_marker, remove_marker, write_marker
from index.store.store_manifest import FileRecord

MARKER = Marker(
    "ab12",
    "cd34",
    {"name": "tiny", "dim": 16},
    ItemSummary(3, 10, 9, {"encoder_nan": 1}, 2, {"other": 4}, ("notes.md",), 1),
    {"image": FileRecord("img_emb/img_emb_0003.npy", 416, "ef56")},
)


def test_a_marker_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_marker(str(tmp_path), 3, MARKER)
    found = read_marker(str(tmp_path), 3)
    assert found is not None
    assert found.summary.passed_names == ["notes.md"]
    assert found.files == MARKER.files
    assert (found.signature, found.model, found.summary.rejected) == ("ab12", MARKER.model, {"encoder_nan": 1})
    remove_marker(str(tmp_path), 3)
    assert read_marker(str(tmp_path), 3) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {}, "summary": {}}', '{"files": 3}'])
def test_a_damaged_marker_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    (tmp_path / "done/0000.json").write_text(text)
    assert read_marker(str(tmp_path), 0) is None
