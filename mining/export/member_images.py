"""The images of sets, read from the store's corpus: a set comes with all its images, or is skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np

from index.corpus.image_decoding import ImageRejected, decode_image, image_extension
from index.errors import ImagesNotLocal, StoreInvalid
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image_at
from mining.export.skipped import OnSkipped, SkippedSet
from mining.sets.image_set import ImageSet, Member

__all__ = ["UnreadableMember", "decoded", "decoded_sets", "read_members", "with_images"]

_READERS = 8
# Sets whose images are read at a time: 128 photographs of 100 kB are 13 MB.
_WINDOW = 64
_COLUMNS = ["key", "shard", "offset", "size", "sha256"]


def with_images(
    store: EmbeddingStore, sets: Iterable[ImageSet], on_skipped: OnSkipped
) -> Iterator[tuple[ImageSet, list[bytes]]]:
    """Yield each set with its members' image files, in order; call `on_skipped` where one of them can't be read.

    Raises ImagesNotLocal where the store has no images at all, StoreInvalid where a member's key is not that of its
    row.
    """
    corpus_root = _corpus_root(store)
    coming = iter(sets)
    with ThreadPoolExecutor(_READERS) as readers:
        while window := list(islice(coming, _WINDOW)):
            known = _KnownRows(store, corpus_root, [member for each in window for member in each.members])
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
                on_skipped(SkippedSet(each.set_id, member.row_id, why))


def decoded_sets(
    store: EmbeddingStore, sets: Iterable[ImageSet], on_skipped: OnSkipped
) -> Iterator[tuple[ImageSet, list[Any]]]:
    """The same with PIL images in RGB; sets with an image that can't be decoded are skipped too."""
    for each, files in with_images(store, sets, on_skipped):
        try:
            images = decoded(each, files)
        except UnreadableMember as error:
            on_skipped(error.skipped)
            continue
        yield each, images


def decoded(each: ImageSet, files: Sequence[bytes]) -> list[Any]:
    """The files of a set as PIL images in RGB. Raises UnreadableMember."""
    images = []
    for member, file in zip(each.members, files, strict=True):
        try:
            images.append(decode_image(file))
        except ImageRejected as error:
            raise UnreadableMember(SkippedSet(each.set_id, member.row_id, error.reason.replace("_", " "))) from error
    return images


def read_members(store: EmbeddingStore, each: ImageSet) -> list[bytes]:
    """The image files of one set. Raises UnreadableMember, and what `with_images` raises."""
    corpus_root = _corpus_root(store)
    known = _KnownRows(store, corpus_root, each.members)
    files = []
    for member in each.members:
        file = known.read(member)
        if isinstance(file, str):
            raise UnreadableMember(SkippedSet(each.set_id, member.row_id, file))
        files.append(file)
    return files


class UnreadableMember(StoreInvalid):
    """An image of a set can't be read, in a place where sets can't be skipped."""

    def __init__(self, skipped: SkippedSet) -> None:
        super().__init__(f"{skipped}; put the corpus back, or use to_webdataset or torch_stream, which skip such sets")
        self.skipped = skipped

    def __reduce__(self) -> Any:
        return UnreadableMember, (self.skipped,)


def _corpus_root(store: EmbeddingStore) -> str:
    if store.corpus_root is None:
        raise ImagesNotLocal(
            f"{store.path}: has embeddings and no images, so its sets come without images; export what was selected, "
            "fetch it with `clipmine fetch SELECTION`, embed it and mine there"
        )
    return store.corpus_root


class _KnownRows:
    """Where the images of a few members lie: as the sets say, or, where they do not, as the store's metadata does."""

    def __init__(self, store: EmbeddingStore, corpus_root: str, members: Sequence[Member]) -> None:
        self._path, self._corpus_root = store.path, corpus_root
        self._places = {member.row_id: _place(member) for member in members}
        rows = list(self._places)
        self._forgotten = set(np.array(rows)[store.is_forgotten(rows)].tolist())
        unknown = [row for row, place in self._places.items() if place["offset"] is None]
        if unknown:
            self._places.update(zip(unknown, store.metadata(unknown, _COLUMNS).to_pylist(), strict=True))

    def read(self, member: Member) -> bytes | str:
        """The image's bytes, or why they cannot be read."""
        if member.row_id in self._forgotten:
            return "forgotten"
        place = self._places[member.row_id]
        if place["key"] != member.key:
            raise StoreInvalid(
                f"{self._path}: row {member.row_id} is {place['key']!r}, the sets say {member.key!r}; this is another "
                "store"
            )
        try:
            data = read_image_at(self._corpus_root, member.row_id, place)
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
