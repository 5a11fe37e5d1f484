"""Reads a selection: the rows that retrieval chose from a store, as a Parquet folder.

    SELECTION/
      manifest.json                written last: its existence means the selection is complete
      rows/rows_0000.parquet       the selection, by concept, then rank
      reserve/reserve_0000.parquet each concept's next ranks, same columns, to replace images that cannot be downloaded
      forgotten/                   row_id, concept, class_id, rank of rows that were forgotten and are erased here

The manifest holds the store's identity, the concepts, the rules with the number of rows that each removed, and the
search plan. Rows that the store forgot since are hidden whenever the selection is read and its store can be opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput, StoreInvalid
from index.files import exists, is_local, join, local_path, read_bytes
from index.parquet import open_parquet
from index.store.embedding_store import EmbeddingStore
from retrieval.concepts import concept_labels
from retrieval.data_frames import frame_of_table
from retrieval.store_identity import describe_store, store_identity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT", "SELECTION_SCHEMA", "Section", "Selection", "describe_store", "store_identity"]

SELECTION_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("key", pa.string()),
        ("shard", pa.string()),
        ("caption", pa.string()),
        ("url", pa.string()),
        ("concept", pa.string()),
        ("class_id", pa.string()),  # the concept's id in the concept list; null where it has none
        ("prompt", pa.string()),  # of the concept's prompts, the one that found the row with the best score
        ("mode", pa.string()),  # t2i or t2t
        ("score", pa.float32()),  # cosine of prompt and image (t2i) or caption (t2t)
        ("rank", pa.int32()),  # from 1, among all that the concept's prompts found in this mode, before the rules
        ("both_ways", pa.bool_()),  # found by the other mode as well
    ]
)
FORMAT = "clipmine-selection"
Section = Literal["rows", "reserve"]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Hidden:
    """The rows that were forgotten since the selection was written: their numbers by section and concept."""

    forgotten: Rows  # the store's list that this was counted with
    by_concept: Mapping[str, Rows]  # section -> int64 [concepts]

    def count(self, section: Section) -> int:
        return int(self.by_concept[section].sum())


@dataclass(frozen=True)
class Selection:
    """A complete selection on disk; open it with `Selection.open`. Iterating yields its rows as dicts, in order.

    Rows that were forgotten since the retrieval are hidden from all tables and counts, from the moment they are
    forgotten; `forgotten_rows` says how many. store_path: where the store is now, if it was moved.
    """

    path: str
    manifest: Mapping[str, Any]
    store_path: str | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, store: str | os.PathLike[str] | None = None) -> Selection:
        """Open a selection folder. store: where its store is now, if it was moved.

        Raises BadInput when there is none, it is unfinished, or a part's count disagrees; StoreInvalid when `store` is
        not the selection's.
        """
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
        selection = cls(root, manifest, None if store is None else os.fspath(store))
        for section in ("rows", "reserve"):
            for part in manifest[section]["parts"]:
                selection._check_part(part)
        if store is not None:
            selection.store()
        return selection

    def __repr__(self) -> str:
        hidden = f", {self.forgotten_rows} forgotten since" if self.forgotten_rows else ""
        return f"Selection({self.path!r}, {self.rows} rows of {len(self.concepts)} concepts{hidden})"

    def __reduce__(self) -> Any:
        return Selection, (self.path, self.manifest, self.store_path)

    @property
    def rows(self) -> int:
        """Rows selected; a row that serves several concepts (keep-all) counts once for each."""
        return int(self.manifest["rows"]["count"]) - (self.forgotten_rows or 0)

    @property
    def reserve_rows(self) -> int:
        """Rows in the reserve: each concept's next ranks."""
        hidden = self._hidden
        return int(self.manifest["reserve"]["count"]) - (hidden.count("reserve") if hidden is not None else 0)

    @property
    def forgotten_rows(self) -> int | None:
        """How many of the rows were forgotten since this was written, and are hidden; counted as `rows` counts them.

        None where the store cannot be opened, so that this is not known and nothing is hidden.
        """
        hidden = self._hidden
        return None if hidden is None else hidden.count("rows")

    def is_forgotten(self, row_ids: Rows) -> npt.NDArray[np.bool_]:
        """bool [n]: which rows of its store are forgotten now; none where the store cannot be opened."""
        return np.zeros(len(row_ids), np.bool_) if self._store is None else self._store.is_forgotten(row_ids)

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of all concepts that were asked for, in the list's order (so an index is a class label), rows or
        none. Two may have one name; `labels` and `class_ids` tell them apart."""
        return tuple(concept["name"] for concept in self.manifest["concepts"])

    @property
    def class_ids(self) -> tuple[str | None, ...]:
        """The id of each concept in the concept list, in order."""
        return tuple(concept.get("class_id") for concept in self.manifest["concepts"])

    @property
    def labels(self) -> tuple[str, ...]:
        """A text for each concept, in order, no two of them equal: its name, with its id where two have the name."""
        return concept_labels(list(zip(self.concepts, self.class_ids, strict=True)))

    @property
    def counts(self) -> dict[str, int]:
        """Rows selected for each concept, by its label."""
        hidden = self._hidden
        gone = [0] * len(self.concepts) if hidden is None else hidden.by_concept["rows"].tolist()
        kept = [int(concept["rows"]) for concept in self.manifest["concepts"]]
        return {label: rows - less for label, rows, less in zip(self.labels, kept, gone, strict=True)}

    @property
    def hits(self) -> int:
        """Results of the searches within K: prompts x K x modes, fewer where the store has fewer rows."""
        return int(self.manifest["hits"])

    @property
    def losses(self) -> dict[str, int]:
        """Rows that each rule removed, in the order in which the rules ran; hits = rows + the sum of these."""
        losses = {loss["rule"]: int(loss["rows"]) for loss in self.manifest["losses"]}
        if self.forgotten_rows:
            losses["forgotten"] = losses.get("forgotten", 0) + self.forgotten_rows
        return losses

    @property
    def identity(self) -> dict[str, Any]:
        """The manifest as it was first written, with the store's identity in place of its path.

        Equal wherever selection and store are, and whatever was forgotten since.
        """
        written = {name: value for name, value in self.manifest.items() if name not in ("as_written", "forgotten")}
        return {**written, **self.manifest.get("as_written", {}), "store": self.manifest["store"]["identity"]}

    def tables(
        self, columns: Sequence[str] | None = None, *, section: Section = "rows", include_forgotten: bool = False
    ) -> Iterator[pa.Table]:
        """Yield the parts in order, each a table with SELECTION_SCHEMA's columns or those asked for.

        include_forgotten: also the rows that were forgotten since, and then those erased from the folder, of which only
        row_id, concept, class_id and rank are not null. For those who must know the whole list, as an export does that
        continues.
        """
        names = list(columns) if columns is not None else SELECTION_SCHEMA.names
        for part in self.manifest[section]["parts"]:
            table = self.read_part(part, names if "row_id" in names or include_forgotten else [*names, "row_id"])
            gone = None if include_forgotten else self.is_forgotten(table["row_id"].to_numpy())
            yield (table if gone is None or not gone.any() else table.filter(pa.array(~gone))).select(names)
        if include_forgotten and section == "rows":
            for part in self.manifest.get("forgotten", {"parts": ()})["parts"]:
                yield self.read_part(part, names)

    def table(
        self,
        columns: Sequence[str] | None = None,
        *,
        concepts: Sequence[str] | None = None,
        section: Section = "rows",
        include_forgotten: bool = False,
    ) -> pa.Table:
        """The whole selection (or reserve) as one table, or the rows of some concepts, given by name or by label."""
        names = list(columns) if columns is not None else SELECTION_SCHEMA.names
        read = names if concepts is None else [*names, *({"concept", "class_id"} - set(names))]
        pieces = [pa.schema([SELECTION_SCHEMA.field(name) for name in read]).empty_table()]
        own = [name in concepts or label in concepts for name, label in self._named] if concepts is not None else []
        for table in self.tables(read, section=section, include_forgotten=include_forgotten):
            pieces.append(
                table if concepts is None else table.filter(pa.array(np.array(own, bool)[self.places(table)]))
            )
        return pa.concat_tables(pieces).select(names)

    def places(self, table: pa.Table) -> Rows:
        """int64 [rows]: for each row of a table with `concept` and `class_id`, the concept's place in `concepts`."""
        first = pa.array(list(dict.fromkeys(self.concepts)), pa.string())
        at = np.array([self.concepts.index(name) for name in first.to_pylist()], np.int64)
        found: Rows = at[pc.index_in(table["concept"], value_set=first).to_numpy()]
        for place, (name, label) in enumerate(self._named):
            if label != name:
                own = pc.equal(table["concept"], name)
                same = pc.fill_null(pc.equal(table["class_id"], self.class_ids[place]), False)
                found[np.asarray(pc.and_(own, same)).astype(np.bool_)] = place
        return found

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
        store = EmbeddingStore.open(path if path is not None else self.store_path or self._store_path())
        if store_identity(store, parts=recorded["parts"]) != recorded["identity"]:
            raise StoreInvalid(
                f"{store.path}: is not the store that {self.path} was retrieved from; "
                "name the right one, or retrieve again"
            )
        return store

    @cached_property
    def _named(self) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self.concepts, self.labels, strict=True))

    @cached_property
    def _store(self) -> EmbeddingStore | None:
        """The store, to ask what was forgotten; None where it cannot be opened: moved, on a service, or another one."""
        try:
            return self.store()
        except (BadInput, OSError):
            if self.store_path is not None:
                raise
            return None

    @property
    def _hidden(self) -> _Hidden | None:
        """What is hidden now; counted again only when the store has forgotten more. None where that is not known."""
        if self._store is None:
            return None
        forgotten = self._store.forgotten  # the same array until it changes
        known: _Hidden | None = self.__dict__.get("_counted")
        if known is None or known.forgotten is not forgotten:
            found = {section: np.zeros(len(self.concepts), np.int64) for section in ("rows", "reserve")}
            for section, counts in found.items() if len(forgotten) else ():
                for part in self.manifest[section]["parts"]:
                    table = self.read_part(part, ["row_id", "concept", "class_id"])
                    gone = table.filter(pa.array(self._store.is_forgotten(table["row_id"].to_numpy())))
                    counts += np.bincount(self.places(gone), minlength=len(counts))
            known = self.__dict__["_counted"] = _Hidden(forgotten, found)
        return known

    def read_part(self, part: Mapping[str, Any], names: Sequence[str]) -> pa.Table:
        """Columns of one part file of the manifest, as stored: forgotten rows are not hidden.

        Columns that it lacks are null, and its concepts' ids are from the manifest.
        """
        with open_parquet(join(self.path, part["file"])) as file:
            there = set(file.schema_arrow.names)
            add_ids = "class_id" in names and "class_id" not in there  # written before ids were kept with the rows
            wanted = [name for name in names if name in there]
            table = file.read(columns=[*wanted, *({"concept"} - set(wanted))] if add_ids else wanted or ["row_id"])
        ids = dict(zip(self.concepts, self.class_ids, strict=True)) if add_ids else {}
        columns = {}
        for name in names:
            if name in there:
                columns[name] = table[name]
            elif name == "class_id":
                columns[name] = pa.array([ids.get(own) for own in table["concept"].to_pylist()], pa.string())
            else:
                columns[name] = pa.nulls(table.num_rows, SELECTION_SCHEMA.field(name).type)
        return pa.table(columns, schema=pa.schema([SELECTION_SCHEMA.field(name) for name in names]))

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
            with open_parquet(path) as file:
                found = file.metadata.num_rows
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise BadInput(f"{path}: missing or damaged; retrieve again into a new folder") from error
        if found != part["rows"]:
            raise BadInput(f"{path}: has {found} rows, its manifest says {part['rows']}; retrieve again")
