"""What `index.json` keeps of a layout by meaning: which rows each shard holds, and what searches rank shards by.

Its files are named by their content:

    STORE/index/image/1c0d9a7e55b2f360.centroids.npy   float32 [cells, d]: the centres of cells (index.graph.cells)
    STORE/index/image/77e0b1d2c3a49f58.table.npy       int64 [m, 4]: shard, cell, first, last (index.graph.packing)
    STORE/index/image/93ab4c1f0d2e6b87.rows.npy        uint32 or int64: the rows of one shard, ascending
    STORE/index/image/5de8f7a6b0c1d293.cells.npy       uint16: their cells
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from index.json_types import check_fields

__all__ = ["Grouping", "Layout", "RowList", "ShardFile"]


@dataclass(frozen=True)
class ShardFile:
    """A file of a shard or of a layout."""

    name: str
    size: int
    sha256: str

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ShardFile:
        """A file from its JSON data; TypeError for another format."""
        return cls(**plain)


@dataclass(frozen=True)
class RowList:
    """The rows of one shard: how many, the file of their ids, and that of their cells."""

    rows: int
    ids: ShardFile
    cells: ShardFile


@dataclass(frozen=True)
class Grouping:
    """Rows first_row .. first_row + rows - 1 of the store, shared out over `lists`, each the rows of one shard.

    source: hash of the checksums that the rows' parts had when they were first written.
    """

    first_row: int
    rows: int
    source: str
    table: ShardFile
    lists: tuple[RowList, ...]

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Grouping:
        """A grouping from its JSON data; TypeError or KeyError for another format."""
        table, *lists = (
            ShardFile.from_json(plain["table"]),
            *(
                RowList(one["rows"], ShardFile.from_json(one["ids"]), ShardFile.from_json(one["cells"]))
                for one in plain["lists"]
            ),
        )
        return cls(**{**plain, "table": table, "lists": tuple(lists)})


@dataclass(frozen=True)
class Layout:
    """Groupings one after the other, which hold all indexed rows, and the cells that all of them share."""

    centroids: ShardFile
    groupings: tuple[Grouping, ...]

    @property
    def rows(self) -> int:
        """The rows 0 .. rows - 1 are grouped."""
        return sum(grouping.rows for grouping in self.groupings)

    def check(self) -> None:
        """Raise ValueError where a field is of another type, or the groupings do not follow each other."""
        check_fields(self)
        first = 0
        for grouping in self.groupings:
            if grouping.first_row != first or sum(one.rows for one in grouping.lists) != grouping.rows:
                raise ValueError(f"the rows grouped from row {grouping.first_row:,} on are not those of its lists")
            first += grouping.rows

    def files(self) -> Iterator[ShardFile]:
        """The files beside those of the shards."""
        yield self.centroids
        for grouping in self.groupings:
            yield grouping.table

    def all_files(self) -> Iterator[ShardFile]:
        """The files, those of the lists too, which are files of the shards as well."""
        yield from self.files()
        for grouping in self.groupings:
            for one in grouping.lists:
                yield one.ids
                yield one.cells

    @classmethod
    def from_json(cls, plain: Mapping[str, Any] | None) -> Layout | None:
        """A layout from its JSON data, None from null; TypeError or KeyError for another format."""
        if plain is None:
            return None
        groupings = tuple(Grouping.from_json(one) for one in plain["groupings"])
        return cls(ShardFile.from_json(plain["centroids"]), groupings)
