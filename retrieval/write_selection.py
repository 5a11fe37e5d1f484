"""Writes selections: new ones, and finished ones again without the rows that their store forgot since.

The layout is that of `retrieval.selection`. A part of a finished selection is written again under a new name, the
manifest then names it, and the old file goes, so that a reader sees one state or the other and a killed writer loses
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.files import atomic_file, is_local, join, local_path, remove, resolve, write_atomic
from index.outputs import remove_folder
from index.store.embedding_store import EmbeddingStore
from index.store.output_register import register_output
from retrieval.concepts import ConceptList
from retrieval.selection import FORMAT, SELECTION_SCHEMA, Section, Selection

__all__ = ["PART_ROWS", "erase_forgotten", "register_selection", "write_selection"]

PART_ROWS = 100_000
# What is kept of a row that was forgotten: exports number their samples by the whole list.
_ERASED = ("row_id", "concept", "class_id", "rank")
# The fields of the manifest that erasing changes.
_CHANGED = ("rows", "reserve", "losses", "concepts")


def write_selection(
    out: str,
    request: Mapping[str, Any],
    concepts: ConceptList,
    *,
    store: Mapping[str, Any],
    hits: Sequence[int],
    rows: Iterable[pa.Table],
    reserve: Iterable[pa.Table],
    losses: list[dict[str, Any]],
    search: Mapping[str, Any],
) -> Selection:
    """Write a selection to the folder `out`, which the caller has claimed: part files first, the manifest last.

    request: the manifest's mode, k, templates and rules. concepts: in order; hits: of each concept. rows, reserve:
    tables of SELECTION_SCHEMA, up to PART_ROWS rows each, one file a table. store, losses, search: as the manifest has
    them. A local retrieval and one through a service both end here, so they write the same folder.
    """
    named = [{"name": concept.name, "class_id": concept.class_id} for concept in concepts]
    draft = Selection(out, {"concepts": named})
    written = {"rows": _write_section(draft, "rows", rows), "reserve": _write_section(draft, "reserve", reserve)}
    manifest = {
        "format": FORMAT,
        "version": 1,
        "store": store,
        **{name: request[name] for name in ("mode", "k", "templates", "rules")},
        "hits": sum(hits),
        **{section: {"count": found["count"], "parts": found["parts"]} for section, found in written.items()},
        "losses": losses,
        "search": search,
        "concepts": [
            {
                **concept,
                "hits": own_hits,
                "rows": int(written["rows"]["by_concept"][place]),
                "reserve": int(written["reserve"]["by_concept"][place]),
            }
            for place, (concept, own_hits) in enumerate(zip(named, hits, strict=True))
        ],
    }
    write_atomic(join(out, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
    remove_folder(join(out, "work"))
    return Selection.open(out)


def _write_section(draft: Selection, section: Section, tables: Iterable[pa.Table]) -> dict[str, Any]:
    """Write a section's part files, one a table; return its parts, and its row counts in all and by concept."""
    parts: list[dict[str, Any]] = []
    by_concept = np.zeros(len(draft.concepts), np.int64)
    for number, table in enumerate(tables):
        name = f"{section}/{section}_{number:04d}.parquet"
        _write_part(join(draft.path, name), table.cast(SELECTION_SCHEMA))
        parts.append({"file": name, "rows": table.num_rows})
        by_concept += np.bincount(draft.places(table), minlength=len(by_concept))
    return {"count": sum(part["rows"] for part in parts), "parts": parts, "by_concept": by_concept}


def register_selection(selection: Selection, store: EmbeddingStore) -> None:
    """Enter a finished selection in its store's register of outputs, which `clipmine forget` reads."""
    register_output(store, "selection", selection.path, ("rows/*.parquet", "reserve/*.parquet"))


def erase_forgotten(selection: Selection, store: EmbeddingStore) -> Selection:
    """Write the parts that hold forgotten rows again without them; return the selection as it is then.

    The rows count as losses of the rule `forgotten`; ranks and the other rows stay as they were. `forgotten/` keeps
    their ids, and the manifest what it was at first, so that the selection's identity does not change.
    """
    manifest = dict(selection.manifest)
    before = {name: manifest[name] for name in _CHANGED if name in manifest}
    erased = list(manifest.get("forgotten", {"parts": []})["parts"])
    number = len(erased) + 1
    gone_rows: list[pa.Table] = []
    counts: dict[Section, npt.NDArray[np.int64]] = {}
    sections: tuple[Section, ...] = ("rows", "reserve")
    for section in sections:
        manifest[section], gone = _without(selection, store, section, number)
        counts[section] = np.bincount(selection.places(gone), minlength=len(selection.concepts)).astype(np.int64)
        gone_rows.append(gone)
    if any(table.num_rows for table in gone_rows):
        name = f"forgotten/forgotten_{number:04d}.parquet"
        _write_part(join(selection.path, name), gone_rows[0])
        manifest["forgotten"] = {"parts": [*erased, {"file": name, "rows": gone_rows[0].num_rows}]}
        manifest.setdefault("as_written", before)
        manifest["losses"] = _add_loss(manifest.get("losses", []), counts, selection.labels)
        manifest["concepts"] = [
            {**concept, **{section: int(concept.get(section, 0)) - int(counts[section][place]) for section in sections}}
            for place, concept in enumerate(manifest["concepts"])
        ]
        write_atomic(join(selection.path, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
    _remove_unnamed(selection.path, manifest)
    return Selection.open(selection.path, store=selection.store_path)


def _without(
    selection: Selection, store: EmbeddingStore, section: Section, number: int
) -> tuple[dict[str, Any], pa.Table]:
    """The manifest's entry of a section whose parts have no forgotten rows, and those rows (columns of _ERASED)."""
    parts = []
    erased = [pa.schema([SELECTION_SCHEMA.field(name) for name in _ERASED]).empty_table()]
    for place, part in enumerate(selection.manifest[section]["parts"]):
        gone = store.is_forgotten(selection.read_part(part, ["row_id"])["row_id"].to_numpy())
        if gone.any():
            table = selection.read_part(part, SELECTION_SCHEMA.names)
            erased.append(table.select(list(_ERASED)).filter(pa.array(gone)))
            part = {"file": f"{section}/{section}_{place:04d}_{number}.parquet", "rows": int((~gone).sum())}
            _write_part(join(selection.path, part["file"]), table.filter(pa.array(~gone)))
        parts.append(part)
    return {"count": sum(part["rows"] for part in parts), "parts": parts}, pa.concat_tables(erased)


def _add_loss(
    losses: Sequence[Mapping[str, Any]], counts: Mapping[Section, npt.NDArray[np.int64]], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """The losses, with the erased rows as further losses of the rule `forgotten`."""
    known = {loss["rule"]: dict(loss) for loss in losses}
    loss = known.setdefault("forgotten", {"rule": "forgotten", "rows": 0, "overflow": 0, "by_concept": {}})
    loss["rows"] += int(counts["rows"].sum())
    loss["overflow"] += int(counts["reserve"].sum())
    by_concept = dict(loss["by_concept"])
    for label, rows in zip(labels, counts["rows"].tolist(), strict=True):
        if rows:
            by_concept[label] = by_concept.get(label, 0) + rows
    loss["by_concept"] = by_concept
    return list(known.values())


def _write_part(path: str, table: pa.Table) -> None:
    with atomic_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def _remove_unnamed(path: str, manifest: Mapping[str, Any]) -> None:
    """Remove part files that the manifest does not name: those before they were written again."""
    for section in ("rows", "reserve"):
        named = {part["file"] for part in manifest[section]["parts"]}
        for name in _part_files(path, section):
            if name not in named:
                remove(join(path, name))


def _part_files(path: str, section: str) -> list[str]:
    if is_local(path):
        return [f"{section}/{file.name}" for file in (local_path(path) / section).glob("*.parquet")]
    file_system, inside = resolve(join(path, section))
    return [f"{section}/{str(name).rpartition('/')[2]}" for name in file_system.glob(f"{inside}/*.parquet")]
