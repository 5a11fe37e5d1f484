"""The images of questions, below one folder: found by path, base name or stem, and read within bounds."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from index.corpus.image_decoding import ImageRejected, decode_image
from index.files import exists, is_local, join, local_path
from mining.export.member_images import read_below
from mining.sets.importers.image_names import ImageNames, Place, is_inside
from mining.sets.importers.record import NamedImage

__all__ = ["MISSING", "UNREADABLE", "QuestionImages"]

# The two reasons why a question cannot be asked.
MISSING = "image missing"
UNREADABLE = "image unreadable"
_KEPT = 64  # files kept in memory: both rounds of a pair and its swapped order show the same two


class QuestionImages:
    """Reads images below `root`, a folder with image files and tars. A name in a record never leads out of it.

    root None: nothing is found. folders: below the root, in which a name is tried as it is; SEED-Bench's images have
    no suffix and are found only so.
    """

    def __init__(self, root: str | None, folders: Sequence[str] = ("",)) -> None:
        self._root = root
        self._folders = folders
        self._names: ImageNames | None = None
        self._read_place = functools.lru_cache(_KEPT)(_read)

    def read(self, image: NamedImage) -> bytes | str:
        """The file's bytes, or MISSING or UNREADABLE. An image that cannot be decoded is unreadable."""
        if image.data is not None:
            return _checked(image.data)
        place = self._place(image)
        return MISSING if place is None else self._read_place(place)

    def path(self, image: NamedImage) -> str | None:
        """The path of an image that is a file of its own; None for one within a tar or a record, and for none."""
        place = None if image.data is not None else self._place(image)
        return None if place is None or place.shard is not None else join(place.root, place.path)

    def _place(self, image: NamedImage) -> Place | None:
        if self._root is None:
            return None
        names = [name for name in (image.name, *image.also) if name and is_inside(name)]
        for name in names:
            for folder in self._folders:
                path = f"{folder}/{name}" if folder else name
                if _is_file(join(self._root, path)):
                    return Place(self._root, path)
        if self._names is None:
            self._names = ImageNames()
            if exists(self._root):
                self._names.add_root(self._root)
        found = self._names.find(names)
        return found if isinstance(found, Place) else None


def _is_file(path: str) -> bool:
    return local_path(path).is_file() if is_local(path) else exists(path)


def _read(place: Place) -> bytes | str:
    found = read_below(place.root, place.path, place.shard, place.offset, place.size)
    if isinstance(found, str):
        return MISSING if found == "missing" else UNREADABLE
    return _checked(found)


def _checked(data: bytes) -> bytes | str:
    try:
        decode_image(data)
    except ImageRejected:
        return UNREADABLE
    return data
