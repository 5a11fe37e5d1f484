from __future__ import annotations

from pathlib import Path

from index.store.overwritten import drop_notes, note_overwriting, noted
from index.store.store_manifest import FileRecord, Origin

RECORD = FileRecord("img_emb/img_emb_0.npy", 9, "ab", Origin(8, "cd"), "ef", True)


def test_a_note_gives_the_record_of_its_file_until_the_notes_are_dropped(tmp_path: Path) -> None:
    note_overwriting(tmp_path, RECORD)
    assert noted(tmp_path, RECORD.path) == RECORD
    assert noted(tmp_path, "text_emb/text_emb_0.npy") is None
    drop_notes(tmp_path)
    assert noted(tmp_path, RECORD.path) is None


def test_a_damaged_note_counts_as_none(tmp_path: Path) -> None:
    note_overwriting(tmp_path, RECORD)
    (note,) = (tmp_path / "compacting").iterdir()
    note.write_text('{"path": 3')
    assert noted(tmp_path, RECORD.path) is None
