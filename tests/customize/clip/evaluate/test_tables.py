"""The same figures as Markdown, CSV and a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from customize.clip.evaluate.intervals import over_seeds
from customize.clip.evaluate.tables import Table, write_tables

TABLE = Table(
    "zero-shot, of 20",
    ("dtd", "mnist"),
    {"CLIP": {"dtd": over_seeds([0.443])}, "REACT": {"dtd": over_seeds([0.5, 0.52, 0.54]), "mnist": over_seeds([0.6])}},
)


def test_markdown_shows_percent_and_the_interval() -> None:
    assert TABLE.markdown().splitlines() == [
        "| | dtd | mnist |",
        "|---|---|---|",
        "| CLIP | 44.3 |  |",
        "| REACT | 52.0 ± 5.0 | 60.0 |",
    ]


def test_files_hold_every_cell(tmp_path: Path) -> None:
    paths = write_tables([TABLE], tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(row["table"], row["row"], row["column"], row["runs"]) for row in rows] == [
        ("zero-shot, of 20", "CLIP", "dtd", "1"),
        ("zero-shot, of 20", "REACT", "dtd", "3"),
        ("zero-shot, of 20", "REACT", "mnist", "1"),
    ]
    assert [path.name for path in paths] == ["results.md", "results.csv", "results_0.png"]
    assert paths[-1].read_bytes().startswith(b"\x89PNG")
