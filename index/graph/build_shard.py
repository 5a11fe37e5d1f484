"""Building one shard of an index: a graph over consecutive or listed rows, and which rows its nodes stand for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.files import atomic_file, hash_json, sha256_file
from index.graph.codecs import has_links, is_rounded
from index.graph.hnsw import TRAIN_ROWS, build_graph, coded_graph, usable_rows, write_graph
from index.graph.index_items import IndexItem
from index.graph.index_manifest import (
    ShardFile,
    ShardRecord,
    index_folder,
    source_hash,
    stored_hash,
    write_marker,
)
from index.graph.inverted_lists import build_lists, training_rows
from index.graph.listed_rows import ListedRows
from index.graph.nodes import plan_nodes
from index.graph.query_captions import fitted_captions, has_query_links
from index.graph.query_graph import build_query_graph
from index.store.embedding_store import EmbeddingStore

__all__ = ["build_hash", "build_shard"]


def build_hash(store: EmbeddingStore, item: IndexItem) -> str:
    """Hash of all that decides the shard's bytes: its recipe, and the rows that are forgotten now."""
    return hash_json([item.recipe, item.forgotten_hash(store)])


def build_shard(item: IndexItem, store_path: str) -> ShardRecord:
    """Write the graph, the skipped positions, the copies, then the marker, which says that the shard is finished.

    Rows that are forgotten while it runs are built in, and hidden by searches.

    Raises:
        DiskFull: no space left; no partial file is left behind and the marker is not written.
        StoreInvalid: the vectors changed while they were read.
    """
    whole = _AsOpened.open(store_path)
    with TemporaryDirectory(prefix="clipmine-shard-") as scratch:
        view = item.view(whole)
        if view is None:
            return _build(item, whole, whole, item.first_row)
        view.copy_to(Path(scratch) / "vectors.npy", item.modality)
        return _build(item, whole, view, 0)


def _build(item: IndexItem, whole: EmbeddingStore, store: EmbeddingStore, first: int) -> ShardRecord:
    """Build a shard of the rows of `store` from `first` on: of the whole store, or of the listed rows of it."""
    folder, last = index_folder(store, item.modality), first + item.rows
    build = build_hash(whole, item)
    store.copy_rows(item.modality, first, last)
    nodes = plan_nodes(store, item.modality, first, last)
    has_node, shared = nodes.has_node, nodes.shared

    def blocks() -> Iterator[npt.NDArray[np.float32]]:
        for row, vectors in store.blocks(item.modality, item.add_rows, first, last):
            block = np.asarray(vectors[has_node[row - first : row - first + len(vectors)]], np.float32)
            if not usable_rows(block).all():
                raise StoreInvalid(f"{store.path}: its vectors changed while they were indexed; run the same again")
            yield block

    if has_links(item.spec.codec):
        chosen = np.unique(np.linspace(first, last - 1, min(item.rows, TRAIN_ROWS)).astype(np.int64))
        fitted = has_query_links(store, item.modality, item.rows)
        sample = store.gather(item.modality, chosen if fitted or is_rounded(item.spec.codec) else chosen[:1])
        if fitted:
            store.copy_rows("text", first, last)
            row_ids = store.listed if isinstance(store, ListedRows) else np.arange(first, last)
            captions = fitted_captions(store, first, row_ids, item.add_rows)
            graph = build_query_graph(blocks(), sample, captions, item.spec)
        else:
            graph = build_graph(blocks(), sample, item.spec)
            graph = coded_graph(graph, sample) if item.spec.codec == "sq4" else graph
    else:
        own = np.flatnonzero(has_node) + first
        chosen = own[np.unique(np.linspace(0, max(len(own) - 1, 0), training_rows(len(own))).astype(np.int64))]
        sample = store.gather(item.modality, chosen) if len(own) else np.eye(1, store.dim, dtype=np.float32)
        graph = build_lists(blocks(), sample, len(own))
    files = {}
    for end, array in (("skipped.npy", np.flatnonzero(~has_node)), ("copies.npy", shared)):
        with atomic_file(folder / f"{build[:16]}.{end}") as partial:
            with open(partial, "wb") as stream:
                np.save(stream, array, allow_pickle=False)
            files[end] = _file(partial, f"{build[:16]}.{end}")
    with atomic_file(folder / f"{build[:16]}.faiss") as partial:
        write_graph(graph, partial)
        files["faiss"] = _file(partial, f"{build[:16]}.faiss")
    if item.listed is not None:
        files |= {"rows.npy": item.listed.ids, "cells.npy": item.listed.cells}
    record = ShardRecord(
        number=item.number,
        first_row=item.first_row,
        rows=item.rows,
        indexed=int(nodes.usable.sum()),
        copies=len(shared),
        forgotten=len(item.forgotten(whole)),
        source=source_hash(whole, item.modality, *item.source_rows),
        stored=stored_hash(whole, item.modality, *item.source_rows),
        recipe=item.recipe,
        build=build,
        files=files,
        span=item.span,
    )
    write_marker(folder, record)
    return record


class _AsOpened(EmbeddingStore):
    """A store whose forgotten rows stay those of the moment when they were first asked for.

    A shard is read twice, and its nodes must be the same rows each time.
    """

    @cached_property
    def forgotten(self) -> npt.NDArray[np.int64]:  # read once
        return super().forgotten


def _file(written: Path, name: str) -> ShardFile:
    return ShardFile(name, written.stat().st_size, sha256_file(written))
