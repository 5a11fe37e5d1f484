"""Write a selection, the format of `retrieval.selection`: part files, then the manifest.

Searches of a store here and answers of a service end in this one function, so both give the same folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.files import atomic_file, join, write_atomic
from index.outputs import remove_folder
from retrieval.query_blocks import RetrieveConfig
from retrieval.selection import FORMAT, SELECTION_SCHEMA, Section, Selection

__all__ = ["PART_ROWS", "write_selection"]

PART_ROWS = 100_000


def write_selection(
    config: RetrieveConfig,
    *,
    store: dict[str, Any],
    hits: Sequence[int],
    rows: Iterable[pa.Table],
    reserve: Iterable[pa.Table],
    losses: list[dict[str, Any]],
    search: dict[str, Any],
) -> Selection:
    """Write the selection to the folder `config.out`, which is claimed already; the manifest comes last.

    store: what the manifest says of it, its `identity` above all. hits: of each concept. rows, reserve: tables of
    SELECTION_SCHEMA, up to PART_ROWS rows each, a file a table. losses, search: as the manifest has them.
    """
    written = {
        "rows": _write_section(config.out, "rows", rows),
        "reserve": _write_section(config.out, "reserve", reserve),
    }
    manifest = {
        "format": FORMAT,
        "version": 1,
        "store": store,
        "mode": config.mode,
        "k": config.k,
        "templates": {"name": config.templates.name, "texts": config.templates.texts},
        "rules": config.rules.to_json(),
        "hits": sum(hits),
        **{section: {"count": found["count"], "parts": found["parts"]} for section, found in written.items()},
        "losses": losses,
        "search": search,
        "concepts": [
            {
                "name": concept.name,
                "class_id": concept.class_id,
                "hits": own_hits,
                "rows": written["rows"]["by_concept"].get(concept.name, 0),
                "reserve": written["reserve"]["by_concept"].get(concept.name, 0),
            }
            for concept, own_hits in zip(config.concepts, hits, strict=True)
        ],
    }
    write_atomic(join(config.out, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
    remove_folder(join(config.out, "work"))
    return Selection.open(config.out)


def _write_section(path: str, section: Section, tables: Iterable[pa.Table]) -> dict[str, Any]:
    """Write a section's part files, one a table; return its parts and how many rows it has, in all and by concept."""
    parts: list[dict[str, Any]] = []
    by_concept: dict[str, int] = {}
    for number, table in enumerate(tables):
        name = f"{section}/{section}_{number:04d}.parquet"
        with atomic_file(join(path, name)) as partial:
            pq.write_table(table.cast(SELECTION_SCHEMA), partial, compression="zstd")
        parts.append({"file": name, "rows": table.num_rows})
        for count in pc.value_counts(table["concept"]).to_pylist():
            by_concept[count["values"]] = by_concept.get(count["values"], 0) + count["counts"]
    return {"count": sum(part["rows"] for part in parts), "parts": parts, "by_concept": by_concept}
