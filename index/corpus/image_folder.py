"""Listing a folder of images or tars: recursively, by what the files' names say.

Hidden files, macOS's companion files (`._x`, `__MACOSX`) and files that are surely no images, such as READMEs, are
counted and passed over. Files whose names do not tell what they are count as images: `index.corpus.folder_items` looks
into them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from index import files
from index.corpus.image_decoding import image_extension
from index.corpus.metadata_files import is_metadata_file
from index.corpus.names import NameRules, is_hidden
from index.corpus.reading import Reading
from index.corpus.samples import PassedOver
from index.errors import BadInput

__all__ = ["Listing", "broken_link", "list_folder"]

_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_TABLES = (".parquet", ".csv", ".tsv")
_LOOKED_INTO = 64  # files of unknown kind in a folder without any image by name
_SNIFFED_BYTES = 32


@dataclass
class Listing:
    """The files of a folder by kind: path relative to the folder -> size in bytes, or only the paths.

    Attributes:
        images: by their names, and cameras' raw data.
        odd: files whose names do not tell what they are.
        sidecars: .txt, .caption and .json.
        metadata: `metadata.jsonl` and `metadata.csv`.
    """

    rules: NameRules = field(default_factory=lambda: NameRules.of(Reading()))
    tars: dict[str, int] = field(default_factory=dict)
    compressed: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    odd: dict[str, int] = field(default_factory=dict)
    sidecars: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, int] = field(default_factory=dict)
    linked_folders: list[str] = field(default_factory=list)
    others: PassedOver = field(default_factory=PassedOver)

    def add(self, path: str, size: int) -> None:
        """Add one file to the kind that its name tells."""
        kind = self.rules.file_kind(path)
        if kind in ("image", "raw"):
            self.images[path] = size
        elif kind in ("text", "json"):
            self.sidecars[path] = size
        elif path.lower().endswith(".tar"):
            self.tars[path] = size
        elif path.lower().endswith(_COMPRESSED_TARS):
            self.compressed.append(path)
        elif is_metadata_file(path):
            self.metadata[path] = size
        elif kind == "odd":
            self.odd[path] = size
        elif path.lower().endswith(_TABLES):
            self.tables.append(path)
        else:
            self.others.add_file(path)

    def has_images(self, root: str) -> bool:
        """Whether there are images: by their names, or by the content of some files whose names do not tell."""
        return bool(self.images or self.linked_folders) or _any_image(root, sorted(self.odd)[:_LOOKED_INTO])


def list_folder(root: str, reading: Reading | None = None) -> Listing:
    """List a local or remote folder in one pass."""
    listing = Listing(NameRules.of(reading or Reading()))
    if files.is_local(root):
        _list_local(files.local_path(root), "", listing)
        return listing
    file_system, inside = files.resolve(root)
    start = inside.rstrip("/") + "/"
    for name, info in file_system.find(inside, detail=True).items():
        path = str(name).removeprefix(start).lstrip("/")
        if any(is_hidden(part) for part in path.split("/")):
            listing.others.add("hidden", path)
        else:
            listing.add(path, int(info.get("size") or 0))
    return listing


def _list_local(root: Path, below: str, listing: Listing) -> None:
    pending = [below]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if is_hidden(entry.name):
                    listing.others.add("hidden", path)
                    continue
                if not _is_unicode(path):
                    raise BadInput(f"{os.fsencode(root / path)!r}: the name is not valid UTF-8; rename the file")
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.is_symlink() and entry.is_dir():
                    listing.linked_folders.append(path)
                elif entry.is_symlink() or entry.is_file():
                    listing.add(path, _size(entry))


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link to a missing file; reading it gives the reason of the reject
        return 0


def _any_image(root: str, paths: Iterable[str]) -> bool:
    for path in paths:
        try:
            if not broken_link(root, path) and image_extension(_start(files.join(root, path))):
                return True
        except OSError:
            continue
    return False


def _start(path: str) -> bytes:
    with files.open_file(path) as stream:
        data: bytes = stream.read(_SNIFFED_BYTES)
        return data


def broken_link(root: str, path: str) -> str | None:
    """Why `root/path` must not be read: "linked_folder", "link_leaves_folder" or, for links in a circle, "unreadable".

    None when it may be read.
    """
    if not files.is_local(root):
        return None
    full = files.local_path(files.join(root, path))
    if not full.is_symlink():
        return None
    if full.is_dir():
        return "linked_folder"
    try:
        inside = full.resolve().is_relative_to(files.local_path(root).resolve())
    except (OSError, RuntimeError):  # links in a circle
        return "unreadable"
    return None if inside else "link_leaves_folder"
