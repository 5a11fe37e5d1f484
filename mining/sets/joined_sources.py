"""The sources of several folders of image sets as one list: the same source once, another of the same name renamed.

The identity in a store's name covers the model and the parts' names and counts. Two stores that one recipe made of two
corpora may share it, so their paths and, where those differ, the keys of some rows are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore
from mining.sets.sources import Source, open_source_store, relative_path, source_folder

__all__ = ["JoinedSources", "join_sources"]

# Rows whose keys and hashes are compared, spread over the store.
_COMPARED = 256


@dataclass(frozen=True)
class JoinedSources:
    """sources: of the joined folder. names: for each folder its sources' names -> those of the joined folder.

    notes: why sources of one name were taken for two.
    """

    sources: tuple[Source, ...]
    names: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]


def join_sources(folders: Sequence[tuple[str, Mapping[str, Source]]], out: str) -> JoinedSources:
    """Join the sources of (folder, its sources) for a folder `out`, with paths relative to it."""
    found: dict[str, Source] = {}
    names: list[dict[str, str]] = []
    notes: list[str] = []
    for path, sources in folders:
        own: dict[str, str] = {}
        for source in sources.values():
            moved = _rebased(source, path, out)
            name, number = source.name, 1
            while name in found and not _is_same(found[name], moved, out, notes):
                number += 1
                name = f"{source.name}-{number}"
            found.setdefault(name, replace(moved, name=name))
            own[source.name] = name
        names.append(own)
    return JoinedSources(tuple(found.values()), tuple(names), tuple(dict.fromkeys(notes)))


def _rebased(source: Source, path: str, out: str) -> Source:
    """The source of the sets at `path` as sets at `out` would have it."""
    where = source_folder(source, path, holds="manifest.json" if source.kind == "store" else "")
    return replace(source, path=where, relative=None if where is None else relative_path(where, out))


def _is_same(known: Source, other: Source, out: str, notes: list[str]) -> bool:
    """Whether two sources of one name are the same one."""
    described = ("kind", "identity", "parts", "collection")
    if any(getattr(known, name) != getattr(other, name) for name in described):
        return False
    if known.path == other.path:
        return True
    if known.kind != "store":
        notes.append(f"{other.name} is in {known.path} and in {other.path}: taken for two collections")
        return False
    try:
        one, two = (open_source_store(each, out) for each in (known, other))
        same = _have_same_rows(one, two)
    except (ClipmineError, OSError) as error:
        notes.append(f"{other.name} is in {known.path} and in {other.path}: taken for two stores, since {error}")
        return False
    if not same:
        notes.append(f"{known.path} and {other.path} have one identity and different images: two stores")
    return same


def _have_same_rows(one: EmbeddingStore, other: EmbeddingStore) -> bool:
    """Whether rows spread over both stores have the same keys and hashes, where both know them."""
    rows = np.unique(np.linspace(0, min(one.rows, other.rows) - 1, _COMPARED).astype(np.int64))
    columns = ["key", "sha256"]
    tables: list[pa.Table] = [store.metadata(rows, columns) for store in (one, other)]
    differ = [pc.any(pc.not_equal(tables[0][name], tables[1][name])).as_py() for name in columns]
    return not any(differ)
