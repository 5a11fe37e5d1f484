"""The images of sets, read from the store's corpus: a set comes with all its images, or is left out with the reason.

Knows the store and the corpus; decodes only for those who ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from index.corpus.images import ImageRejected, decode_image, image_extension
from index.store.read_image import read_image
from index.errors import ImagesNotLocal, StoreInvalid
from index.store.embedding_store import EmbeddingStore
from index.store.metadata import METADATA_SCHEMA
from mining.export.skipped import LeftOut, OnLeftOut
from mining.sets.image_set import ImageSet, Member

__all__ = ["UnreadableMember", "decoded", "decoded_sets", "read_members", "with_images"]

_READERS = 8
# Sets whose images are read at a time: 128 photographs of 100 kB are 13 MB.
_WINDOW = 64
_COLUMNS = ["key", "shard", "offset", "size", "sha256"]
_PLACE_SCHEMA = pa.schema([METADATA_SCHEMA.field(name) for name in _COLUMNS])


def with_images(
    store: EmbeddingStore, sets: Iterable[ImageSet], on_left_out: OnLeftOut
) -> Iterator[tuple[ImageSet, list[bytes]]]:
    """Each set with its members' image files, in order; `on_left_out` hears of the sets that cannot be had whole.

    Raises ImagesNotLocal where the store has no images at all, StoreInvalid where a row is another image.
    """
    _require_images(store)
    coming = iter(sets)
    with ThreadPoolExecutor(_READERS) as readers:
        while window := list(islice(coming, _WINDOW)):
            known = _KnownRows(store, [member for each in window for member in each.members])
            read = iter(list(readers.map(known.read, [member for each in window for member in each.members])))
            for each in window:
                files = [next(read) for _ in each.members]
                images = [file for file in files if isinstance(file, bytes)]
                if len(images) == each.size:
                    yield each, images
                    continue
                member, why = next(
                    (member, file) for member, file in zip(each.members, files, strict=True) if isinstance(file, str)
                )
                on_left_out(LeftOut(each.set_id, member.row_id, why))


def decoded_sets(
    store: EmbeddingStore, sets: Iterable[ImageSet], on_left_out: OnLeftOut
) -> Iterator[tuple[ImageSet, list[Any]]]:
    """The same with PIL images in RGB; a set with an image that can't be decoded is left out too."""
    for each, files in with_images(store, sets, on_left_out):
        try:
            images = decoded(each, files)
        except UnreadableMember as error:
            on_left_out(error.left_out)
            continue
        yield each, images


def decoded(each: ImageSet, files: Sequence[bytes]) -> list[Any]:
    """PIL images in RGB. Raises UnreadableMember."""
    images = []
    for member, file in zip(each.members, files, strict=True):
        try:
            images.append(decode_image(file))
        except ImageRejected as error:
            raise UnreadableMember(LeftOut(each.set_id, member.row_id, error.reason.replace("_", " "))) from error
    return images


def read_members(store: EmbeddingStore, each: ImageSet) -> list[bytes]:
    """One set's image files. Raises UnreadableMember (and as `with_images` does)."""
    _require_images(store)
    known = _KnownRows(store, each.members)
    files = []
    for member in each.members:
        file = known.read(member)
        if isinstance(file, str):
            raise UnreadableMember(LeftOut(each.set_id, member.row_id, file))
        files.append(file)
    return files


class UnreadableMember(StoreInvalid):
    """A set's image cannot be had, where there is no going on without it."""

    def __init__(self, left_out: LeftOut) -> None:
        super().__init__(
            f"{left_out}; put the corpus back, or export what is whole with to_webdataset, which leaves such sets out"
        )
        self.left_out = left_out

    def __reduce__(self) -> Any:
        return UnreadableMember, (self.left_out,)


def _require_images(store: EmbeddingStore) -> None:
    if store.corpus_root is None:
        raise ImagesNotLocal(
            f"{store.path}: has embeddings and no images, so its sets come without images; export what was selected, "
            "fetch it with `clipmine fetch SELECTION`, embed it and mine there"
        )


class _KnownRows:
    """A store as `read_image` wants it, for a few members: what the sets know of their place need not be looked up."""

    def __init__(self, store: EmbeddingStore, members: Sequence[Member]) -> None:
        self.rows, self.corpus_root, self.forgotten = store.rows, store.corpus_root, store.forgotten
        self._path = store.path
        self._known = {member.row_id: _place(member) for member in members}
        self._gone = set(np.array(list(self._known))[store.is_forgotten(list(self._known))].tolist())
        unknown = [row for row, place in self._known.items() if place["offset"] is None]
        if unknown:
            self._known.update(zip(unknown, store.metadata(unknown, _COLUMNS).to_pylist(), strict=True))

    def metadata(self, row_ids: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
        return pa.Table.from_pylist([self._known[int(row)] for row in row_ids], _PLACE_SCHEMA)

    def read(self, member: Member) -> bytes | str:
        """The image's bytes, or why they cannot be had."""
        if member.row_id in self._gone:
            return "forgotten"
        known = self._known[member.row_id]
        if known["key"] != member.key:
            raise StoreInvalid(
                f"{self._path}: row {member.row_id} is {known['key']!r}, the sets say {member.key!r}; this is another "
                "store"
            )
        try:
            data = read_image(self, member.row_id)
        except ImagesNotLocal:
            return "missing"
        except StoreInvalid:
            return "changed"
        except OSError as error:
            return f"unreadable: {error.strerror or type(error).__name__}"
        return data if image_extension(data) else "of unknown format"


def _place(member: Member) -> dict[str, Any]:
    return {
        "key": member.key,
        "shard": member.shard,
        "offset": member.offset,
        "size": member.bytes,
        "sha256": member.sha256,
    }
