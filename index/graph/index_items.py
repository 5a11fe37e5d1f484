"""The items of an index job: the shards to build, and what names each of them.

A shard holds consecutive rows, or a list of rows that are near each other (`index.graph.layout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from index.files import hash_json
from index.graph.codecs import has_links
from index.graph.hnsw import HnswSpec
from index.graph.index_manifest import forgotten_hash, forgotten_rows, index_folder, source_hash
from index.graph.inverted_lists import LIST_RULES
from index.graph.layout import Layout, RowList
from index.graph.listed_rows import ListedRows, listed_places
from index.graph.nodes import NODE_RULES
from index.graph.query_captions import caption_rules, has_query_links
from index.graph.recipe import Recipe
from index.graph.shard_files import shard_file
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["IndexItem", "list_items", "range_item"]


@dataclass(frozen=True)
class IndexItem:
    """One shard to build: rows first_row .. first_row + rows - 1, or `listed`, which is drawn from `span` rows.

    recipe: hash of the rows, their source, and how the graph is built.
    """

    number: int
    modality: Modality
    first_row: int
    rows: int
    spec: HnswSpec
    add_rows: int
    recipe: str
    listed: RowList | None = None
    span: int = 0

    @property
    def source_rows(self) -> tuple[int, int]:
        """The first row and the number of rows of the store that the shard is built from."""
        return self.first_row, self.span or self.rows

    def view(self, store: EmbeddingStore) -> ListedRows | None:
        """The listed rows as a store; None for consecutive rows."""
        if self.listed is None:
            return None
        file = shard_file(index_folder(store, self.modality), self.listed.ids)
        return ListedRows(store, np.load(file, mmap_mode="r", allow_pickle=False))

    def forgotten(self, store: EmbeddingStore) -> npt.NDArray[np.int64]:
        """The positions in the shard of its forgotten rows, ascending."""
        if self.listed is None:
            return forgotten_rows(store, self.first_row, self.rows) - self.first_row
        gone = forgotten_rows(store, *self.source_rows)
        view = self.view(store) if len(gone) else None
        return gone if view is None else listed_places(view.listed, gone)

    def forgotten_hash(self, store: EmbeddingStore) -> str:
        """Hash of the forgotten rows of the shard; "" where there are none."""
        if self.listed is None:
            return forgotten_hash(store, self.first_row, self.rows)
        gone = self.forgotten(store)
        return sha256(gone.astype("<i8").tobytes()).hexdigest() if len(gone) else ""


def range_item(number: int, first: int, store: EmbeddingStore, modality: Modality, recipe: Recipe) -> IndexItem:
    """The shard of the consecutive rows from `first` on."""
    rows = min(recipe.shard_rows, store.rows - first)
    decides = _decides([first, rows], rows, (first, rows), store, modality, recipe)
    return IndexItem(number, modality, first, rows, recipe.spec, recipe.add_rows, hash_json(decides))


def list_items(layout: Layout, store: EmbeddingStore, modality: Modality, recipe: Recipe) -> list[IndexItem]:
    """The shards of a layout by meaning."""
    items: list[IndexItem] = []
    for grouping in layout.groupings:
        first, span = grouping.first_row, grouping.rows
        for listed in grouping.lists:
            rows = ["list", listed.ids.sha256]
            decides = _decides(rows, listed.rows, (first, span), store, modality, recipe)
            item = IndexItem(
                len(items), modality, first, listed.rows, recipe.spec, recipe.add_rows, hash_json(decides), listed, span
            )
            items.append(item)
    return items


def _decides(
    which: Sequence[object],
    rows: int,
    source_rows: tuple[int, int],
    store: EmbeddingStore,
    modality: Modality,
    recipe: Recipe,
) -> dict[str, Any]:
    spec = recipe.spec
    decides: dict[str, Any] = {
        "modality": modality,
        "spec": [spec.codec, spec.M, spec.ef_construction, recipe.add_rows, NODE_RULES],
        "rows": list(which),
        "source": source_hash(store, modality, *source_rows),
    }
    if not has_links(spec.codec):
        decides["lists"] = LIST_RULES
    elif has_query_links(store, modality, rows):
        decides["captions"] = [*caption_rules(store, modality, rows), source_hash(store, "text", *source_rows)]
    return decides
