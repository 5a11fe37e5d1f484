"""Which files of folders and tars are named by a record: by path, by base name, or by base name without suffix.

All roots are listed once: 0.3 kB of memory a file. Names are only looked up in the list, so that no name of a record
can lead out of a root. Links to folders are not entered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from index.corpus.image_folder import broken_link
from index.corpus.samples import IMAGE_SUFFIXES
from index.corpus.tars import TarBroken, iter_members
from index.errors import BadInput
from index.files import exists, is_local, join, local_path, open_file, resolve

__all__ = ["ImageNames", "Place", "is_inside", "split_root", "why_unread"]

_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """An image file: `path` below `root`, or `size` bytes at `offset` of the tar `shard` below `root`.

    sha256: where it is known already.
    """

    root: str
    path: str
    shard: str | None = None
    offset: int | None = None
    size: int | None = None
    sha256: str | None = None


class ImageNames:
    """The images of several roots by name. notes: what could not be listed."""

    def __init__(self) -> None:
        self._by_base: dict[str, list[Place]] = {}
        self._by_stem: dict[str, list[str]] | None = None
        self.notes: list[str] = []

    def __len__(self) -> int:
        return sum(map(len, self._by_base.values()))

    def add(self, place: Place) -> None:
        """One more image; `place.path` is its name."""
        self._by_base.setdefault(place.path.rpartition("/")[2], []).append(place)
        self._by_stem = None

    def add_root(self, path: str) -> None:
        """List a folder with all its images and tars, or one tar. Raises BadInput where there is neither."""
        if not exists(path):
            raise BadInput(f"{path}: does not exist; --images names a folder, a tar, or MIMIC-IT's file of images")
        root, tar = split_root(path)
        if tar is not None and (reason := self._add_tar(root, tar)):
            raise BadInput(f"{path}: {reason}; --images names a folder, a tar, or MIMIC-IT's file of images")
        if tar is None and is_local(root) and not local_path(root).is_dir():
            raise BadInput(f"{path}: is no folder, tar or file of images (.json, .parquet); unpack it into a folder")
        for name in self._listed(root) if tar is None else ():
            if name.endswith(".tar"):
                if reason := self._add_tar(root, name):
                    self.notes.append(f"{join(root, name)}: {reason}")
            elif _is_image(name):
                self.add(Place(root, name))

    def find(self, names: Sequence[str]) -> Place | str:
        """The image of the first of these names that is found; else "missing" or "ambiguous".

        A whole path is preferred, then the base name (of several files of that name the one whose folders agree with
        the record's), then the base name without its suffix.
        """
        several = False
        for by_stem in (False, True):
            for name in names:
                found = self._candidates(name, by_stem)
                if len(found) == 1:
                    return found[0]
                several |= len(found) > 1
        return "ambiguous" if several else "missing"

    def _candidates(self, name: str, by_stem: bool) -> list[Place]:
        base = name.rpartition("/")[2]
        if by_stem:
            if self._by_stem is None:
                self._by_stem = {}
                for known in self._by_base:
                    self._by_stem.setdefault(_stem(known), []).append(known)
            stem = _stem(base) if _is_image(base) else base
            found = [place for known in self._by_stem.get(stem, ()) for place in self._by_base[known]]
        else:
            found = self._by_base.get(base, [])
        if len(found) < 2:
            return found
        agreeing = [_common(_folders(place.path), _folders(name)) for place in found]
        best = [place for place, count in zip(found, agreeing, strict=True) if count == max(agreeing)]
        # Among equals, the path that has nothing more than the record's name.
        exact = [place for place in best if place.path.lstrip("./") == name.lstrip("./")]
        return exact if len(exact) == 1 else best

    def _add_tar(self, root: str, name: str) -> str | None:
        """Why the tar cannot be read at all; None where it can."""
        if reason := why_unread(root, name):
            return reason
        count = 0
        try:
            with open_file(join(root, name), buffering=_BUFFER) as stream:
                for member in iter_members(stream, lambda name, size: False):
                    if _is_image(member.name):
                        self.add(Place(root, member.name, name, member.offset, member.size))
                        count += 1
        except TarBroken as broken:
            self.notes.append(f"{join(root, name)}: {broken.reason.replace('_', ' ')} after {count} images")
        except OSError as error:
            return f"unreadable: {error.strerror or type(error).__name__}"
        return None

    def _listed(self, root: str) -> Iterator[str]:
        if not is_local(root):
            system, inside = resolve(root)
            for found in sorted(system.find(inside)):
                yield str(found).removeprefix(inside.rstrip("/")).lstrip("/")
            return
        top = local_path(root)
        for folder, folders, names in os.walk(top, onerror=self._note_unlisted):
            folders.sort()
            linked = [each for each in folders if Path(folder, each).is_symlink()]
            self.notes += [f"{Path(folder, each)}: a link to a folder, not entered; name it as well" for each in linked]
            inside = Path(folder).relative_to(top).as_posix()
            for name in sorted(names):
                yield name if inside == "." else f"{inside}/{name}"

    def _note_unlisted(self, error: OSError) -> None:
        self.notes.append(f"{error.filename}: not listed ({error.strerror or type(error).__name__})")


def why_unread(root: str, name: str) -> str | None:
    """Why the file `name` below `root` is not opened: a link out of the root, or no file of bytes, such as a pipe."""
    if reason := broken_link(root, name):
        return "unreadable: links in a circle" if reason == "unreadable" else "a link out of its folder"
    if not is_local(root):
        return None
    path = local_path(join(root, name))
    return "no regular file" if path.exists() and not path.is_file() else None


def split_root(path: str) -> tuple[str, str | None]:
    """(the folder, None) of a folder; (its folder, its name) of a tar."""
    if not path.endswith(".tar") or (is_local(path) and local_path(path).is_dir()):
        return path, None
    folder, _, name = path.rpartition("/")
    return folder or ("/" if path.startswith("/") else "."), name


def is_inside(name: str) -> bool:
    """Whether a record's name of an image stays inside its folder."""
    parts = name.replace("\\", "/").split("/")
    drive = name[1:3] in (":\\", ":/")
    return bool(name) and not name.startswith(("/", "\\")) and ".." not in parts and "\0" not in name and not drive


def _is_image(name: str) -> bool:
    return name.rpartition("/")[2].rpartition(".")[2].lower() in IMAGE_SUFFIXES and "." in name


def _stem(base: str) -> str:
    return base.rpartition(".")[0]


def _folders(name: str) -> list[str]:
    return [part for part in name.split("/")[:-1] if part not in ("", ".")]


def _common(left: list[str], right: list[str]) -> int:
    """How many of the last folders are the same."""
    count = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other:
            break
        count += 1
    return count
