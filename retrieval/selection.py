"""A selection: what retrieval chose from a store, as a Parquet folder.

    SELECTION/
      manifest.json                written last: its existence means the selection is complete
      rows/rows_0000.parquet       the selection, by concept, then rank
      reserve/reserve_0000.parquet each concept's next ranks, same columns, for topping up what the web has lost

The manifest keeps the store's identity, concepts, rules and their losses, and the search plan. Knows how to read
this format; `write_selection` writes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput, StoreInvalid
from index.files import exists, is_local, join, local_path, open_file, read_bytes
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import hash_json

__all__ = ["SELECTION_SCHEMA", "Selection", "store_identity"]

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
Section = Literal["rows", "reserve"]


@dataclass(frozen=True)
class Selection:
    """A complete selection on disk; open it with `Selection.open`."""

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

    @property
    def rows(self) -> int:
        """Rows selected; a row that serves several concepts (keep-all) counts once for each."""
        return int(self.manifest["rows"]["count"])

    @property
    def reserve_rows(self) -> int:
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
        """What the searches returned within K: prompts x K x modes, fewer where a store has fewer rows."""
        return int(self.manifest["hits"])

    @property
    def losses(self) -> dict[str, int]:
        """Rows that each rule dropped, in the order in which the rules ran; hits = rows + the sum of these."""
        return {loss["rule"]: int(loss["rows"]) for loss in self.manifest["losses"]}

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

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row as a dict, in order."""
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
                f"{self.path}: was retrieved from the service {recorded['url']}, so it does not know where the store "
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

    Adding parts, forgetting rows and compaction leave it as it was, and so do row ids. Stores that are alike in all
    this are told apart by their keys, when images are read.
    """
    chosen = store.parts if parts is None else store.parts[:parts]
    return hash_json([dict(store.fingerprint), [[part.name, part.rows] for part in chosen]])


def describe_store(store: EmbeddingStore, selection: str) -> dict[str, Any]:
    """What a selection's manifest says of its store: where it is, from here too, and what it is."""
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
