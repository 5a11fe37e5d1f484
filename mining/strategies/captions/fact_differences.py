"""Which pairs of rows differ in one fact only, by their captions or their metadata: a map over pairs.

Only the rows of the pairs are read and parsed, so the work depends on the number of pairs and not on the store's size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from mining.strategies.captions.caption_rows import captions_of
from mining.strategies.captions.fact_comparison import Difference, difference_of_captions, difference_of_metadata
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.metadata_facts import MetadataFacts, metadata_facts
from mining.strategies.metadata_fields import field_column, fields_there, words_below
from mining.strategies.minable import Minable
from mining.strategies.neighbors.work_arrays import has_arrays, read_array, read_table, write_array, write_table
from mining.text.caption_facts import facts_of

__all__ = ["FOUND", "DifferenceItem", "check_facts", "difference_item", "find_differences"]

RowIds = npt.NDArray[np.int64]
# What a row states: (caption, or "" for metadata; its facts) of each caption
Stated = list[tuple[str, Mapping[tuple[str, str], str | float]]]

# Pairs of an item: a few seconds of parsing.
ITEM_PAIRS = 8_192
# Rows that are checked for the fields of `--facts` before the work begins.
CHECKED_ROWS = 1_000
# Captions with more facts are skipped: they are lists of words.
MOST_FACTS = 64
FOUND = pa.schema(
    [("place", pa.int64()), ("axis", pa.string()), ("owner", pa.string()), ("one", pa.string()), ("other", pa.string()),
     ("degree", pa.string()), ("amount", pa.float64()), ("agree", pa.int32()), ("unstated", pa.int32()),
     ("texts", pa.list_(pa.string()))]
)  # fmt: skip


@dataclass(frozen=True)
class DifferenceItem:
    """The pairs first .. last - 1 of those written to the working folder, and the axes that may differ; () for all."""

    number: int
    first: int
    last: int
    axes: tuple[str, ...]


def check_facts(ctx: MiningContext, minable: Minable) -> None:
    """Raise BadInput for a field of `--facts` in which none of CHECKED_ROWS sampled rows has a value."""
    rows = minable.sample(CHECKED_ROWS, ctx.random("facts"))
    for field in ctx.config.facts:
        column = field_column(minable.store, field)
        if not any(_stated(minable.store.metadata(rows, [column]), (field,), [column])):
            raise BadInput(
                f"{minable.store.path}: --facts {field}: none of {len(rows):,} rows has a value there; "
                + fields_there(minable)
            )


def find_differences(ctx: MiningContext, map_items: MapItems, pairs: RowIds, axes: tuple[str, ...]) -> pa.Table:
    """FOUND: the pairs of int64 [n, 2], by place, that differ in one fact; by metadata where `--facts` names fields.

    texts: the two captions from which the difference came; null for metadata.
    """
    write_array(ctx, "fact_pairs.npy", pairs)
    items = [
        DifferenceItem(number, first, min(first + ITEM_PAIRS, len(pairs)), axes)
        for number, first in enumerate(range(0, len(pairs), ITEM_PAIRS))
    ]
    map_items(difference_item, items, "mine attribute: compare facts")
    return pa.concat_tables([FOUND.empty_table(), *(read_table(ctx, _file(item), FOUND) for item in items)])


def difference_item(item: DifferenceItem, ctx: MiningContext) -> int:
    """Write the differences of an item's pairs; returns the number of pairs."""
    if has_arrays(ctx, _file(item)):
        return item.last - item.first
    pairs = read_array(ctx, "fact_pairs.npy")[item.first : item.last]
    rows = np.unique(pairs)
    comparer = _Comparer(ctx, rows, item.axes)
    found = []
    for place, (one, other) in enumerate(pairs.tolist(), item.first):
        best = comparer.difference(one, other)
        if best is not None:
            difference, texts = best
            found.append({"place": place, **vars(difference), "texts": texts})
    write_table(ctx, _file(item), pa.Table.from_pylist(found, schema=FOUND))
    return len(pairs)


class _Comparer:
    """Compares rows pair by pair; the facts of each row are parsed once."""

    def __init__(self, ctx: MiningContext, rows: RowIds, axes: tuple[str, ...]) -> None:
        self.axes, self.fields = axes, ctx.config.facts
        store = ctx.open_store()
        if self.fields:
            columns = [field_column(store, field) for field in self.fields]
            table = store.metadata(rows, sorted(set(columns)))
            self._stated = dict(zip(rows.tolist(), _stated(table, self.fields, columns), strict=True))
        else:
            which = ctx.config.captions
            # The look-up files of a store have the column `caption` only.
            table = store.metadata(rows, ["caption"] if which == "caption" else ["caption", "captions"])
            self._stated = dict(zip(rows.tolist(), map(_parsed, captions_of(table, which)), strict=True))

    def difference(self, one: int, other: int) -> tuple[Difference, list[str] | None] | None:
        """The difference of two rows that leaves the least unstated, with the captions that it came from."""
        found: list[tuple[Difference, list[str] | None]] = []
        for text, facts in self._stated[one]:
            for other_text, other_facts in self._stated[other]:
                if self.fields:
                    difference, texts = difference_of_metadata(facts, other_facts, self.axes), None
                else:
                    difference, texts = difference_of_captions(facts, other_facts, self.axes), [text, other_text]
                if difference is not None:
                    found.append((difference, texts))
        return min(found, key=lambda each: (each[0].unstated, -each[0].agree), default=None)


def _parsed(texts: list[str]) -> Stated:
    stated: Stated = [(text, facts_of(text)) for text in texts]
    return [each for each in stated if 0 < len(each[1]) <= MOST_FACTS]


def _stated(table: pa.Table, fields: tuple[str, ...], columns: list[str]) -> list[Stated]:
    """For each row the facts of all fields together; [] where it has none."""
    values = {column: table[column].to_pylist() for column in set(columns)}
    found: list[Stated] = []
    for place in range(table.num_rows):
        facts: MetadataFacts = {}
        for field, column in zip(fields, columns, strict=True):
            facts |= metadata_facts(values[column][place], words_below(field, column), field.rpartition(".")[2])
        found.append([("", facts)] if facts else [])
    return found


def _file(item: DifferenceItem) -> str:
    return f"differences_{item.number:05d}.parquet"
