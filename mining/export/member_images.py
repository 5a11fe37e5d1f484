"""The image file of a member of a set, wherever its source keeps it: a store's corpus, a folder of files, tars.

images = MemberImages(sets, moved={"store-1f0c2a7e9b04": "/data/store"})
data = images.read(sets[0].members[0])  # bytes, or the reason why there are none
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

from index import files
from index.corpus.image_decoding import MAX_IMAGE_BYTES, image_extension
from index.corpus.image_folder import broken_link
from index.errors import BadInput, ImagesNotLocal
from index.store.embedding_store import EmbeddingStore
from mining.sets.image_set import ImageSet, Member
from mining.sets.image_sets import ImageSets
from mining.sets.sources import Folder, Moved, Source, moved_by_name, open_source_store, source_folder

__all__ = ["MemberImages", "read_below"]

_COLUMNS = ["key", "shard", "offset", "size", "sha256"]


class MemberImages:
    """Reads image files of members. Safe for threads; pickled without what it has open."""

    def __init__(self, sets: ImageSets, moved: Moved = None) -> None:
        """moved: where sources are now, by name, or one path where the sets have one source.

        A source is opened when a member of it is first read. Raises BadInput for a name that is no source of the sets.
        """
        self._path, self._sources = sets.path, sets.sources
        self._moved = moved_by_name(moved, sets.sources, sets.path)
        self._opened: dict[str, _StoreImages | _FileImages] = {}
        self._lock = threading.Lock()

    def read(self, member: Member) -> bytes | str:
        """The image file's bytes, or why there are none, in a few words such as "missing" or "forgotten".

        Raises what opening the member's source raises: BadInput where its folder or store is not there, StoreInvalid
        where another store is there, ImagesNotLocal where the store has embeddings only.
        """
        found = self._source(member.source).read(member)
        if isinstance(found, str):
            return found
        if member.sha256 and hashlib.sha256(found).hexdigest() != member.sha256:
            return "changed" if member.row_id is not None else "another file than at import"
        return found if image_extension(found) else "of unknown format"

    def open(self, each: ImageSet) -> None:
        """Open the sources of a set, so that a wrong place fails here and not in a worker. Raises as `read` does."""
        for member in each.members:
            self._source(member.source)

    def forgotten(self) -> dict[str, str]:
        """A hash of the forgotten rows of each store that can be opened, by source."""
        found = {}
        for name in sorted(self._sources):
            try:
                opened = self._source(name)
            except BadInput:  # reading one of its members reports this
                continue
            if isinstance(opened, _StoreImages):
                found[name] = opened.forgotten
        return found

    def __reduce__(self) -> Any:
        return _again, (self._path, self._sources, self._moved)

    def _source(self, name: str) -> _StoreImages | _FileImages:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._open(name)
            return self._opened[name]

    def _open(self, name: str) -> _StoreImages | _FileImages:
        source = self._sources.get(name)
        if source is None:
            raise BadInput(f"{self._path}: a member names the source {name!r:.100}, which the manifest does not list")
        moved = self._moved.get(name)
        if source.kind == "store":
            return _StoreImages(open_source_store(source, self._path, moved))
        root = source_folder(source, self._path, moved)
        if root is not None and not files.exists(root):
            raise BadInput(
                f"{self._path}: the images of {name} should be in {root}, which is not there; name the folder: "
                f"--images DIR (in Python moved={{{name!r}: FOLDER}})"
            )
        return _FileImages(root)


def _again(path: str, sources: Mapping[str, Source], moved: Mapping[str, Folder]) -> MemberImages:
    images = MemberImages.__new__(MemberImages)
    images._path, images._sources, images._moved = path, sources, dict(moved)
    images._opened, images._lock = {}, threading.Lock()
    return images


class _StoreImages:
    """Images of a store's rows, in its corpus."""

    def __init__(self, store: EmbeddingStore) -> None:
        if store.corpus_root is None:
            raise ImagesNotLocal(
                f"{store.path}: has embeddings and no images, so its sets come without images; export what was "
                "selected, fetch it with `clipmine fetch SELECTION`, embed it and mine there"
            )
        self._store, self._root = store, store.corpus_root

    @property
    def forgotten(self) -> str:
        return hashlib.sha256(self._store.forgotten.tobytes()).hexdigest()

    def read(self, member: Member) -> bytes | str:
        row = member.row_id
        if row is None or not 0 <= row < self._store.rows:
            return "not a row of its store"
        if self._store.is_forgotten([row])[0]:
            return "forgotten"
        if member.offset is not None:
            return _read_range(self._root, member.shard, member.offset, member.bytes)
        place = self._store.metadata([row], _COLUMNS).to_pylist()[0]
        if place["key"] != member.key:
            return f"another image in the store, whose key is {place['key']!r:.100}"
        found = _read_range(self._root, place["shard"], place["offset"], place["size"])
        if isinstance(found, bytes) and place["sha256"] and hashlib.sha256(found).hexdigest() != place["sha256"]:
            return "changed"
        return found


class _FileImages:
    """Images of a foreign collection: files of their own, or byte ranges of tars, below its root."""

    def __init__(self, root: str | None) -> None:
        self._root = root

    def read(self, member: Member) -> bytes | str:
        name = member.path or member.shard
        if self._root is None or name is None:
            return "not downloaded" if member.url else "without a file"
        if member.path is None:
            return read_below(self._root, name, member.shard, member.offset, member.bytes)
        return read_below(self._root, name)


def read_below(
    root: str, name: str, shard: str | None = None, offset: int | None = None, size: int | None = None
) -> bytes | str:
    """The file `name` below `root`, or `size` bytes at `offset` of the tar `shard` there, or why there is none.

    Neither names nor links lead out of `root`. The reasons are those of `MemberImages.read`.
    """
    if offset is None:
        return _read_file(root, name)
    if broken_link(root, shard or name):
        return "a link out of its folder"
    return _read_range(root, shard, offset, size)


def _read_range(root: str, shard: str | None, offset: int | None, size: int | None) -> bytes | str:
    """A byte range of a tar, or of an image's own file, below `root`."""
    if shard is None or offset is None or size is None:
        return "missing"
    if size > MAX_IMAGE_BYTES:
        return "too large"
    try:
        path = files.join_inside(root, shard)
        if not shard.endswith(".tar") and broken_link(root, shard):
            return "a link out of its folder"
        data = files.read_bytes_range(path, offset, size)
    except (BadInput, OSError) as error:
        return _why(error)
    return data if len(data) == size else "changed"


def _read_file(root: str, name: str) -> bytes | str:
    """A whole file below `root`; links that lead out of it are not followed."""
    try:
        path = files.join_inside(root, name)
        if files.is_local(root):
            real = files.local_path(path).resolve(strict=True)
            if not real.is_relative_to(files.local_path(root).resolve()):
                return "a link out of its folder"
            if not real.is_file():
                return "not a file"
        size = files.file_size(path)
        if size > MAX_IMAGE_BYTES:
            return "too large"
        data = files.read_bytes_range(path, 0, size)
    except (BadInput, OSError, RuntimeError, ValueError) as error:
        return _why(error)
    return data if len(data) == size else "changed while it was read"


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, BadInput):
        return "outside its folder"
    # resolve() raises RuntimeError for a loop of links, and ValueError for a zero byte in a name.
    return f"unreadable: {error.strerror or type(error).__name__}" if isinstance(error, OSError) else "unreadable"
