"""Where the images of image sets come from: an embedding store, or a foreign collection of files.

A source has a name that is unique within a folder of image sets; members refer to it by that name, and the manifest
lists all sources. A store's name holds its identity, so that the same store has the same name in every folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from index.errors import BadInput, StoreInvalid
from index.files import exists, hash_json, is_local, join, local_path
from index.store.embedding_store import EmbeddingStore
from retrieval.selection import describe_store, store_identity

__all__ = [
    "Folder",
    "Moved",
    "Source",
    "files_source",
    "is_store",
    "moved_by_name",
    "open_only_store",
    "open_source_store",
    "relative_path",
    "source_folder",
    "store_source",
]

Folder = str | os.PathLike[str]
# Where sources are now that were moved: one path where there is one source, else by the name of the source.
Moved = Folder | Mapping[str, Folder] | None

_STORE = "store-"
# Hex digits of a store's identity within its source's name.
_DIGITS = 12


@dataclass(frozen=True)
class Source:
    """One source of images. kind: `store`, or `files` for a foreign collection.

    path, relative: the store, or the folder that holds the files or tars; absolute, and relative to the image sets.
    None for a collection of URLs. identity, parts, rows, model: of a store, as a selection's manifest has them.
    collection, licence, homepage: of a foreign collection; licence None where it is not known.
    """

    name: str
    kind: Literal["store", "files"]
    path: str | None
    relative: str | None = None
    identity: str | None = None
    parts: int | None = None
    rows: int | None = None
    model: Mapping[str, Any] | None = None
    collection: str | None = None
    licence: str | None = None
    homepage: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The source without its name and without what does not apply."""
        return {name: value for name, value in asdict(self).items() if name != "name" and value is not None}

    @classmethod
    def from_json(cls, name: str, value: Mapping[str, Any]) -> Source:
        """Raises KeyError or TypeError for anything else than a source."""
        known = {each.name for each in fields(cls)} - {"name"}
        path = value.get("path")
        return cls(name=name, **{"path": path, **{key: value[key] for key in value if key in known}})


def store_source(store: EmbeddingStore, sets: str | os.PathLike[str]) -> Source:
    """The source of a store's rows, for image sets in the folder `sets`."""
    described = describe_store(store, os.fspath(sets))
    return Source(name=_STORE + str(described["identity"])[:_DIGITS], kind="store", **described)


def files_source(
    collection: str,
    root: str | os.PathLike[str] | None,
    sets: str | os.PathLike[str],
    *,
    licence: str | None = None,
    homepage: str | None = None,
) -> Source:
    """The source of a foreign collection whose files lie below `root` (None where only URLs are known)."""
    path = None
    relative = None
    if root is not None:
        path = str(local_path(root).absolute()) if is_local(root) else os.fspath(root)
        relative = relative_path(path, sets)
    slug = re.sub(r"[^a-z0-9]+", "-", collection.lower()).strip("-") or "files"
    name = f"{slug}-{hash_json([collection, path])[:8]}"
    return Source(name, "files", path, relative, collection=collection, licence=licence, homepage=homepage)


def relative_path(path: str, sets: str | os.PathLike[str]) -> str | None:
    """`path` relative to the folder `sets`; None where one of them is remote."""
    if not (is_local(path) and is_local(sets)):
        return None
    return Path(os.path.relpath(local_path(path).absolute(), local_path(sets).absolute())).as_posix()


def is_store(name: str, store: EmbeddingStore, parts: int | None) -> bool:
    """Whether the source of this name was this store when it had `parts` parts."""
    if not name.startswith(_STORE) or parts is None or not 0 < parts <= len(store.parts):
        return False
    return store_identity(store, parts=parts)[:_DIGITS] == name[len(_STORE) :][:_DIGITS]


def open_source_store(source: Source, sets: str, moved: str | os.PathLike[str] | None = None) -> EmbeddingStore:
    """Open the store of a source, at `moved` where it was moved. Raises StoreInvalid when another store is there."""
    if source.kind != "store":
        raise BadInput(f"{sets}: the source {source.name} is a collection of files, not a store")
    where = source_folder(source, sets, moved, holds="manifest.json")
    if where is None:
        raise BadInput(f"{sets}: does not say which store it was mined from, so its images cannot be found")
    store = EmbeddingStore.open(where)
    if store_identity(store, parts=source.parts) != source.identity:
        raise StoreInvalid(
            f"{store.path}: is not the store that {sets} was mined from; name the right one, or mine again"
        )
    return store


def open_only_store(
    sources: Mapping[str, Source], sets: str, moved: str | os.PathLike[str] | None = None
) -> EmbeddingStore:
    """Open the one store among the sources. Raises BadInput where there is none or several."""
    stores = [source for source in sources.values() if source.kind == "store"]
    if len(stores) != 1:
        names = ", ".join(source.name for source in stores) or "none"
        raise BadInput(f"{sets}: its images come from {len(stores)} stores ({names}); open one by its name")
    return open_source_store(stores[0], sets, moved)


def moved_by_name(
    moved: Moved, sources: Mapping[str, Source], sets: str, kind: Literal["store", "files"] | None = None
) -> dict[str, Folder]:
    """Where sources of the folder `sets` are now, by name. kind: of the source that a single path stands for.

    Raises BadInput for a name that is no source, or for a single path where the folder has several sources of the kind.
    """
    if moved is None:
        return {}
    if isinstance(moved, Mapping):
        if unknown := sorted(set(moved) - set(sources)):
            raise BadInput(f"{sets}: has no source {unknown[0]!r:.100}; it has {', '.join(sorted(sources)) or 'none'}")
        return dict(moved)
    names = sorted(name for name, source in sources.items() if kind in (None, source.kind))
    if len(names) != 1:
        what = "stores" if kind == "store" else "sources"
        raise BadInput(
            f"{sets}: has {len(names)} {what} ({', '.join(names) or 'none'}), so {os.fspath(moved)} must come with the "
            "name of one: --images NAME=DIR (in Python moved={NAME: FOLDER})"
        )
    return {names[0]: moved}


def source_folder(
    source: Source, sets: str, moved: str | os.PathLike[str] | None = None, *, holds: str = ""
) -> str | None:
    """The folder of a source: `moved`, else the place relative to the sets if it exists, else the absolute one.

    holds: a file that the folder must have to count as existing. None for a source without a folder.
    """
    if moved is not None:
        return os.fspath(moved)
    if source.path is None:
        return None
    if source.relative and is_local(sets):
        beside = os.path.normpath(local_path(sets).absolute() / source.relative)
        if exists(join(beside, holds) if holds else beside):
            return beside
    return source.path
