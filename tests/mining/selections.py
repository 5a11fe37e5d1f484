"""A selection of chosen rows, for the tests of mining."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from index.store.embedding_store import EmbeddingStore
from retrieval.selection import FORMAT, SELECTION_SCHEMA, describe_store


def write_test_selection(store: EmbeddingStore, folder: Path, concepts: Mapping[str, Sequence[int]]) -> str:
    """Write FOLDER with the rows of each concept; returns its path."""
    pairs = [(row, name) for name, rows in concepts.items() for row in rows]
    table = pa.table({"row_id": [row for row, _ in pairs], "concept": [name for _, name in pairs]})
    for field in SELECTION_SCHEMA:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(len(pairs), field.type))
    (folder / "rows").mkdir(parents=True)
    pq.write_table(table.select(SELECTION_SCHEMA.names).cast(SELECTION_SCHEMA), folder / "rows/rows_0000.parquet")
    manifest = {
        "format": FORMAT,
        "version": 1,
        "store": describe_store(store, str(folder)),
        "rows": {"count": len(pairs), "parts": [{"file": "rows/rows_0000.parquet", "rows": len(pairs)}]},
        "reserve": {"count": 0, "parts": []},
        "concepts": [{"name": name, "rows": len(rows)} for name, rows in concepts.items()],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)
