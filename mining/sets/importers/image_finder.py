"""The images that records name: where each is, how long it is and its SHA-256, and what is not found."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from index.corpus.image_decoding import MAX_IMAGE_BYTES
from index.files import join, open_file
from mining.sets.importers.image_names import ImageNames, Place, split_root, why_unread
from mining.sets.importers.image_packs import ImagePack, checked, encoded_images, is_encoded
from mining.sets.importers.import_counts import shown
from mining.sets.importers.record import NamedImage

__all__ = ["Found", "ImageFinder"]

# Files that are read at once, a chunk of each in memory.
_READERS = 8
_CHUNK = 1 << 20
_NAMED = 10  # images not found that the summary names, of each reason


@dataclass(frozen=True, slots=True)
class Found:
    """An image's place with its length and hash, or, without a place, why it has none."""

    place: Place | None
    reason: str | None = None


class ImageFinder:
    """Looks images up in `roots` and reads each once; remembers what it found.

    roots: folders, tars, files of base64 images (of which only `wanted` ids are taken). pack: the tars into which
    images from tables and base64 texts are written. `names.notes` has what could not be listed.
    """

    def __init__(self, roots: Sequence[str], pack: ImagePack, wanted: Iterable[str] = ()) -> None:
        self.names = ImageNames()
        self._pack = pack
        self._known: dict[str, Found] = {}
        self._measured: dict[Place, Found] = {}
        self._readers = ThreadPoolExecutor(_READERS)
        self.roots = tuple(dict.fromkeys(split_root(root)[0] for root in roots if not is_encoded(root)))
        for root in roots:
            if not is_encoded(root):
                self.names.add_root(root)
        asked = set(wanted)
        for root in roots:
            if is_encoded(root):
                self._unpack(root, asked)

    def find(self, images: Sequence[NamedImage]) -> list[Found]:
        """The images' places, in order; files that are new are read at once."""
        found: list[Found | Place] = []
        for image in images:
            if image.data is not None:
                packed = self._pack.add(image.data)
                found.append(Found(packed) if isinstance(packed, Place) else Found(None, packed))
                continue
            name = _identity(image)
            if name in self._known:
                found.append(self._known[name])
                continue
            place = self.names.find([each for each in (image.name, *image.also) if each])
            if isinstance(place, str):
                self._known[name] = Found(None, place)
            elif place.sha256 is not None:
                self._known[name] = Found(place)
            else:
                found.append(place)
                continue
            found.append(self._known[name])
        self._measure([place for place in found if isinstance(place, Place)])
        settled = [self._measured[each] if isinstance(each, Place) else each for each in found]
        for image, each in zip(images, settled, strict=True):
            self._known[_identity(image)] = each
        return settled

    def counts(self) -> dict[str, Any]:
        """{"named": distinct images, "found", "not_found": {reason: count}, "examples": {reason: names}}."""
        reasons = Counter(found.reason for found in self._known.values() if found.reason is not None)
        examples: dict[str, list[str]] = {reason: [] for reason in sorted(reasons)}
        for name, found in self._known.items():
            if found.reason is not None and len(examples[found.reason]) < _NAMED:
                examples[found.reason].append(shown(name))
        named = len(self._known)
        return {
            "named": named,
            "found": named - sum(reasons.values()),
            "not_found": dict(sorted(reasons.items())),
            "examples": examples,
        }

    def close(self) -> None:
        """Stop the readers."""
        self._readers.shutdown(cancel_futures=True)

    def _unpack(self, path: str, wanted: set[str]) -> None:
        for name, data in encoded_images(path):
            if name not in wanted:
                continue
            packed = "broken base64" if data is None else self._pack.add(data)
            found = Found(packed) if isinstance(packed, Place) else Found(None, packed)
            # One id of two images.
            self._known[name] = found if self._known.get(name, found) == found else Found(None, "ambiguous")

    def _measure(self, places: Sequence[Place]) -> None:
        new = [place for place in dict.fromkeys(places) if place not in self._measured]
        # Tars are read front to back.
        new.sort(key=lambda place: (place.root, place.shard or "", place.offset or 0))
        for place, found in zip(new, self._readers.map(_read, new), strict=True):
            self._measured[place] = found


def _identity(image: NamedImage) -> str:
    if image.data is not None:
        return hashlib.sha256(image.data).hexdigest()
    return image.name or image.url or ""


def _read(place: Place) -> Found:
    """The place with its length and hash. The file is read a chunk at a time."""
    name = place.shard or place.path
    digest = hashlib.sha256()
    size = 0
    start = b""
    try:
        if reason := why_unread(place.root, name):
            return Found(None, reason)
        with open_file(join(place.root, name)) as stream:
            if place.offset:
                stream.seek(place.offset)
            while place.size is None or size < place.size:
                chunk = stream.read(_CHUNK if place.size is None else min(_CHUNK, place.size - size))
                if not chunk or size > MAX_IMAGE_BYTES:
                    break
                start = start or chunk[:32]
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        return Found(None, f"unreadable: {error.strerror or type(error).__name__}")
    if place.size is not None and size < min(place.size, MAX_IMAGE_BYTES):
        return Found(None, "unreadable: the tar ends early")
    reason = checked(start, size)
    return Found(None, reason) if reason else Found(replace(place, size=size, sha256=digest.hexdigest()))
