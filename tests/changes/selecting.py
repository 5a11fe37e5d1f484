"""A selection that is retrieved from the store again and again while rows are forgotten."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from retrieval.selection import Selection
from tests.changes.answers import Visible
from tests.changes.world import World, query_number

CONCEPTS, K = 6, 12
RowKey = tuple[int, str]


@dataclass
class Retrieved:
    """The output folder of one `clipmine retrieve`, and what is known of it."""

    world: World
    path: Path
    options: dict[str, Any]
    names: list[str]
    parts: int | None = None  # of the store when the folder was claimed
    rows: set[RowKey] | None = field(default=None)  # when it was last complete

    @classmethod
    def draw(cls, world: World, path: Path, rng: np.random.Generator) -> Retrieved:
        """A random concept list and options."""
        names = [f"concept {number}" for number in rng.choice(len(world.queries), CONCEPTS, replace=False)]
        options: dict[str, Any] = {"mode": str(rng.choice(["t2i", "t2t", "both"])), "k": K, "block_queries": 2}
        options |= {"templates": ["{}"], "method": "exact" if rng.random() < 0.5 else None}
        return cls(world, path, options, names)

    def check(self, state: Visible) -> None:
        """What readers get of a complete selection: no forgotten row, none with another meaning, none lost."""
        if not (self.path / "manifest.json").exists():
            return
        selection = Selection.open(self.path)
        rows = self._check_table(pa.concat_tables([selection.table(), selection.table(section="reserve")]), state)
        assert selection.rows == selection.table().num_rows == sum(selection.counts.values()), self.path
        if self.rows is not None:
            assert rows == {key for key in self.rows if key[0] not in state.gone}, "a selection's rows have changed"
        self.rows = rows

    def check_files(self, state: Visible) -> None:
        """After a run: the files themselves hold no forgotten row."""
        files = sorted([*self.path.glob("rows/*.parquet"), *self.path.glob("reserve/*.parquet")])
        assert not (self.path / "work").exists(), "work was left in a complete selection"
        self._check_table(pa.concat_tables([pq.read_table(file) for file in files]), state) if files else None

    def drop(self) -> None:
        """Delete the folder, as its message says, after the store has grown."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.parts = self.rows = None

    def _check_table(self, table: pa.Table, state: Visible) -> set[RowKey]:
        seen = set()
        for row in table.to_pylist():
            number = row["row_id"]
            assert number not in state.gone, f"selection: row {number} was forgotten"
            expected = self.world.metadata(number)
            assert {name: row[name] for name in expected} == expected, row
            modality = "image" if row["mode"] == "t2i" else "text"
            query = self.world.queries[query_number(row["prompt"])].astype(np.float32)
            score = float(self.world.vectors(modality)[number].astype(np.float32) @ query)
            assert abs(score - row["score"]) < 2e-3, (row, score)
            seen.add((number, row["concept"]))
        return seen
