"""A folder of images as a corpus: listing it (recursively, sorted) and reading its images with their side-car files.

A sample's key is its path without the extension, its shard is the image file itself. Hidden files and macOS's companion
files (`._x`, `__MACOSX`) are ignored, and so are text files without an image, such as READMEs and label lists. Links
to files inside the folder are followed, links out of it are rejected, and linked folders are not entered.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from index import files
from index.corpus.caption_pattern import CaptionPattern
from index.corpus.samples import IMAGE_SUFFIXES, MAX_SIDECAR_BYTES, Reject, Sample, ShardItem, make_sample
from index.errors import BadInput

__all__ = ["Listing", "cut_folder", "list_folder", "read_folder_item"]

_SIDECAR_SUFFIXES = frozenset({"txt", "json"})
_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
_TABLES = (".parquet", ".csv", ".tsv")


@dataclass
class Listing:
    """The files of a folder by kind: path relative to the folder -> size in bytes, or only the paths."""

    tars: dict[str, int] = field(default_factory=dict)
    compressed: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    sidecars: dict[str, int] = field(default_factory=dict)
    linked_folders: list[str] = field(default_factory=list)

    def add(self, path: str, size: int) -> None:
        """Add one file to the kind that its name tells."""
        suffix = path.rpartition(".")[2].lower()
        if suffix == "tar":
            self.tars[path] = size
        elif suffix in IMAGE_SUFFIXES:
            self.images[path] = size
        elif suffix in _SIDECAR_SUFFIXES:
            self.sidecars[path] = size
        elif path.lower().endswith(_COMPRESSED_TARS):
            self.compressed.append(path)
        elif path.lower().endswith(_TABLES):
            self.tables.append(path)


def list_folder(root: str) -> Listing:
    """List a local or remote folder in one pass."""
    listing = Listing()
    if files.is_local(root):
        _list_local(files.local_path(root), "", listing)
        return listing
    file_system, inside = files.resolve(root)
    start = inside.rstrip("/") + "/"
    for name, info in file_system.find(inside, detail=True).items():
        path = str(name).removeprefix(start).lstrip("/")
        if not any(_is_hidden(part) for part in path.split("/")):
            listing.add(path, int(info.get("size") or 0))
    return listing


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _list_local(root: Path, below: str, listing: Listing) -> None:
    pending = [below]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if _is_hidden(entry.name):
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


def cut_folder(
    root: str, listing: Listing, shard_size: int, caption_pattern: str | None, allow_empty_caption: bool
) -> list[ShardItem]:
    """Cut a folder's images into items of `shard_size` keys; all images of a key and its side-cars are in one item."""
    groups: dict[str, list[str]] = {}
    for path in [*listing.images, *listing.linked_folders]:
        groups.setdefault(_key(path), []).append(path)
    for path in listing.sidecars:
        if (key := _key(path)) in groups:
            groups[key].append(path)
    sizes = {**listing.images, **listing.sidecars}
    keys = sorted(groups)
    items = []
    for number, start in enumerate(range(0, len(keys), shard_size)):
        paths = tuple(path for key in keys[start : start + shard_size] for path in sorted(groups[key]))
        measured = tuple(sizes.get(path, 0) for path in paths)
        items.append(ShardItem(number, root, "folder", paths, measured, caption_pattern, allow_empty_caption))
    return items


def _key(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem if dot else name}"


def read_folder_item(item: ShardItem, pattern: CaptionPattern | None, max_bytes: int) -> Iterator[Sample | Reject]:
    """Read an item's images in order. An image that is gone since the folder was listed is a reject, not an error."""
    groups: dict[str, list[tuple[str, int]]] = {}
    for path, size in zip(item.paths, item.sizes, strict=True):
        groups.setdefault(_key(path), []).append((path, size))
    for key, members in groups.items():
        sidecars = {path.rpartition(".")[2].lower(): (path, size) for path, size in members if _is_sidecar(path)}
        images = [(path, size) for path, size in members if not _is_sidecar(path)]
        for position, (path, size) in enumerate(images):
            if position:
                yield Reject(key, path, "read", "duplicate_key")
            elif size > max_bytes or any(length > MAX_SIDECAR_BYTES for _, length in sidecars.values()):
                yield Reject(key, path, "read", "too_many_bytes")
            else:
                yield _read_one(item, key, path, sidecars, pattern, max_bytes)


def _is_sidecar(path: str) -> bool:
    return path.rpartition(".")[2].lower() in _SIDECAR_SUFFIXES


def _read_one(
    item: ShardItem,
    key: str,
    path: str,
    sidecars: dict[str, tuple[str, int]],
    pattern: CaptionPattern | None,
    max_bytes: int,
) -> Sample | Reject:
    found: dict[str, bytes] = {}
    try:
        for suffix, name in [("image", path), *((suffix, name) for suffix, (name, _) in sidecars.items())]:
            if reason := broken_link(item.root, name):
                return Reject(key, path, "read", reason)
            found[suffix] = files.read_bytes(files.join(item.root, name))
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return Reject(key, path, "read", "unreadable")
    if len(found["image"]) > max_bytes:  # it grew since it was listed
        return Reject(key, path, "read", "too_many_bytes")
    image, text, sidecar = found["image"], found.get("txt"), found.get("json")
    return make_sample(key, path, 0, image, text, sidecar, pattern, item.allow_empty_caption)


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
