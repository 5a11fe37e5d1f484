"""A selection: the rows that retrieval chose from a store, as a Parquet folder. Read and written here.

    SELECTION/
      manifest.json                written last: its existence means the selection is complete
      rows/rows_0000.parquet       the selection, by concept, then rank
      reserve/reserve_0000.parquet each concept's next ranks, same columns, to replace images that cannot be downloaded

The manifest holds the store's identity, the concepts, the rules with the number of rows that each removed, and the
search plan.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput, StoreInvalid
from index.files import atomic_file, exists, hash_json, is_local, join, local_path, open_file, read_bytes, write_atomic
from index.outputs import remove_folder
from index.store.embedding_store import EmbeddingStore
from retrieval.concepts import ConceptList
from retrieval.data_frames import frame_of_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PART_ROWS", "SELECTION_SCHEMA", "Selection", "distinct_rows", "store_identity", "write_selection"]

SELECTION_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("key", pa.string()),
        ("shard", pa.string()),
        ("caption", pa.string()),
        ("url", pa.string()),
        ("concept", pa.string()),
        ("prompt", pa.string()),  # of the concept's prompts, the one that found the row with the best score
        ("mode", pa.string()),  # t2i or t2t
        ("score", pa.float32()),  # cosine of prompt and image (t2i) or caption (t2t)
        ("rank", pa.int32()),  # from 1, among all that the concept's prompts found in this mode, before the rules
        ("both_ways", pa.bool_()),  # found by the other mode as well
    ]
)
FORMAT = "clipmine-selection"
PART_ROWS = 100_000
Section = Literal["rows", "reserve"]


@dataclass(frozen=True)
class Selection:
    """A complete selection on disk; open it with `Selection.open`. Iterating yields its rows as dicts, in order."""

    path: str
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Selection:
        """Open a selection folder; BadInput when there is none, it is unfinished, or a part's count disagrees."""
        root = os.fspath(path)
        manifest_path = join(root, "manifest.json")
        if not exists(manifest_path):
            unfinished = exists(join(root, "retrieve.json"))
            what = "an unfinished selection: run the same `clipmine retrieve` again" if unfinished else "no selection"
            raise BadInput(f"{root}: {what} (it has no manifest.json)")
        try:
            manifest = json.loads(read_bytes(manifest_path))
        except ValueError as error:
            raise BadInput(f"{manifest_path}: is damaged ({error}); retrieve again into a new folder") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise BadInput(f"{manifest_path}: is not the manifest of a selection")
        selection = cls(root, manifest)
        for section in ("rows", "reserve"):
            for part in manifest[section]["parts"]:
                selection._check_part(part)
        return selection

    def __repr__(self) -> str:
        return f"Selection({self.path!r}, {self.rows} rows of {len(self.concepts)} concepts)"

    @property
    def rows(self) -> int:
        """Rows selected; a row that serves several concepts (keep-all) counts once for each."""
        return int(self.manifest["rows"]["count"])

    @property
    def reserve_rows(self) -> int:
        """Rows in the reserve: each concept's next ranks."""
        return int(self.manifest["reserve"]["count"])

    @property
    def concepts(self) -> tuple[str, ...]:
        """All concepts that were asked for, in the list's order (so an index is a class label), rows or none."""
        return tuple(concept["name"] for concept in self.manifest["concepts"])

    @property
    def counts(self) -> dict[str, int]:
        """Rows selected for each concept."""
        return {concept["name"]: int(concept["rows"]) for concept in self.manifest["concepts"]}

    @property
    def hits(self) -> int:
        """Results of the searches within K: prompts x K x modes, fewer where the store has fewer rows."""
        return int(self.manifest["hits"])

    @property
    def losses(self) -> dict[str, int]:
        """Rows that each rule removed, in the order in which the rules ran; hits = rows + the sum of these."""
        return {loss["rule"]: int(loss["rows"]) for loss in self.manifest["losses"]}

    @property
    def identity(self) -> dict[str, Any]:
        """The manifest with the store's identity in place of its path: equal wherever selection and store are."""
        return {**self.manifest, "store": self.manifest["store"]["identity"]}

    def tables(self, columns: Sequence[str] | None = None, *, section: Section = "rows") -> Iterator[pa.Table]:
        """Yield the parts in order, each a table with SELECTION_SCHEMA's columns or those asked for."""
        for part in self.manifest[section]["parts"]:
            with open_file(join(self.path, part["file"])) as stream:
                yield pq.read_table(stream, columns=None if columns is None else list(columns))

    def table(
        self,
        columns: Sequence[str] | None = None,
        *,
        concepts: Sequence[str] | None = None,
        section: Section = "rows",
    ) -> pa.Table:
        """The whole selection (or reserve) as one table, or the rows of some concepts."""
        names = list(columns) if columns is not None else SELECTION_SCHEMA.names
        read = names if concepts is None or "concept" in names else [*names, "concept"]
        empty = pa.schema([SELECTION_SCHEMA.field(name) for name in read]).empty_table()
        pieces = [empty]
        for table in self.tables(read, section=section):
            pieces.append(table if concepts is None else table.filter(pc.is_in(table["concept"], pa.array(concepts))))
        return pa.concat_tables(pieces).select(names)

    def to_pandas(
        self,
        columns: Sequence[str] | None = None,
        *,
        concepts: Sequence[str] | None = None,
        section: Section = "rows",
    ) -> pd.DataFrame:
        """`table` as a pandas data frame; BadInput when pandas is not installed."""
        return frame_of_table(self.table(columns, concepts=concepts, section=section))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for table in self.tables():
            yield from table.to_pylist()

    def __len__(self) -> int:
        return self.rows

    def store(self, path: str | os.PathLike[str] | None = None) -> EmbeddingStore:
        """Open the store that this was retrieved from, or `path` when it was moved.

        StoreInvalid when it is not the same one: another model, or other parts (parts added since are fine).
        """
        recorded = self.manifest["store"]
        store = EmbeddingStore.open(path if path is not None else self._store_path())
        if store_identity(store, parts=recorded["parts"]) != recorded["identity"]:
            raise StoreInvalid(
                f"{store.path}: is not the store that {self.path} was retrieved from; "
                "name the right one, or retrieve again"
            )
        return store

    def _store_path(self) -> str:
        recorded = self.manifest["store"]
        if recorded["path"] is None:
            raise BadInput(
                f"{self.path}: was retrieved from the service {recorded['url']} and does not record where the store "
                "is; name the store's folder (--store)"
            )
        beside = recorded.get("relative")
        if beside is not None and is_local(self.path):
            moved_along = os.path.normpath(local_path(self.path).absolute() / str(beside))
            if exists(join(moved_along, "manifest.json")):
                return moved_along
        return str(recorded["path"])

    def _check_part(self, part: Mapping[str, Any]) -> None:
        path = join(self.path, part["file"])
        try:
            with open_file(path) as stream:
                found = pq.read_metadata(stream).num_rows
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise BadInput(f"{path}: missing or damaged; retrieve again into a new folder") from error
        if found != part["rows"]:
            raise BadInput(f"{path}: has {found} rows, its manifest says {part['rows']}; retrieve again")


def store_identity(store: EmbeddingStore, parts: int | None = None) -> str:
    """A hash of the model and of the first `parts` parts' names and counts (default: all parts).

    Adding parts, forgetting rows and compaction do not change it (nor any row id). Two stores with the same model,
    part names and counts have the same identity; their keys are compared when images are read.
    """
    chosen = store.parts if parts is None else store.parts[:parts]
    return hash_json([dict(store.fingerprint), [[part.name, part.rows] for part in chosen]])


def describe_store(store: EmbeddingStore, selection: str) -> dict[str, Any]:
    """The `store` entry of a selection's manifest: absolute path, path relative to the selection, identity, model."""
    relative = None
    if is_local(selection):
        relative = Path(os.path.relpath(store.path, local_path(selection).absolute())).as_posix()
    return {
        "path": os.fspath(store.path),
        "relative": relative,
        "rows": store.rows,
        "parts": len(store.parts),
        "identity": store_identity(store),
        "model": dict(store.fingerprint),
    }


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
    written = {"rows": _write_section(out, "rows", rows), "reserve": _write_section(out, "reserve", reserve)}
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
                "name": concept.name,
                "class_id": concept.class_id,
                "hits": own_hits,
                "rows": written["rows"]["by_concept"].get(concept.name, 0),
                "reserve": written["reserve"]["by_concept"].get(concept.name, 0),
            }
            for concept, own_hits in zip(concepts, hits, strict=True)
        ],
    }
    write_atomic(join(out, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
    remove_folder(join(out, "work"))
    return Selection.open(out)


def _write_section(path: str, section: Section, tables: Iterable[pa.Table]) -> dict[str, Any]:
    """Write a section's part files, one a table; return its parts and its row counts, in all and by concept."""
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


def distinct_rows(table: pa.Table) -> pa.Table:
    """`table` (columns of a selection, among them row_id, concept and rank) in order of row id, each row id once.

    A row that serves several concepts keeps the values of the best rank, and an added column `concepts`, a list of
    strings, names all of them, best rank first. In row id order image files are read front to back, and the concepts
    are mixed as they are in the corpus.
    """
    rows = table.column("row_id").to_numpy()
    order = np.lexsort((np.arange(len(rows)), table.column("rank").to_numpy(), rows))
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(rows) else np.zeros(0, np.int64)
    offsets = np.r_[starts, len(rows)].astype(np.int32)
    names = table.column("concept").combine_chunks().take(pa.array(order))
    concepts = pa.ListArray.from_arrays(pa.array(offsets), names)
    return table.combine_chunks().take(pa.array(order[starts])).append_column("concepts", concepts)
