"""A corpus as work items: `list_items` cuts a source into numbered items, `read_item` streams the samples of one.

A source is a folder, a tar, a glob or a brace pattern, local or at any fsspec URL; it holds webdataset tars as
img2dataset writes them, or images with side-car files. Each sample comes out once, as a Sample or as a Reject with its
reason. Images are not decoded here (`index.corpus.batches` does that).
"""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from index import files
from index.corpus.folder_items import FolderCorpus, read_folder_item
from index.corpus.image_decoding import MAX_IMAGE_BYTES
from index.corpus.image_folder import list_folder
from index.corpus.reading import Reading
from index.corpus.samples import PassedOver, Reject, Sample, ShardItem
from index.corpus.tar_samples import read_tar_item
from index.errors import BadInput

__all__ = ["Corpus", "list_corpus", "list_items", "read_item"]

_MAX_FILES = 1_000_000  # that a brace pattern may name: 10 billion images at 10,000 a tar
_STAT_THREADS = 16
_EXAMPLES = 6  # file names in a message


@dataclass(frozen=True)
class Corpus:
    """A source, listed.

    Attributes:
        items: numbered, in sorted order and the same at each call.
        passed_over: files of a folder that are no part of the corpus.
        folder: of a folder of images, its keys, which can be cut into items in another way.
    """

    items: list[ShardItem]
    passed_over: PassedOver = field(default_factory=PassedOver)
    folder: FolderCorpus | None = None


def list_corpus(source: str, shard_size: int = 10_000, reading: Reading | None = None) -> Corpus:
    """Cut `source` into numbered items.

    Args:
        source: folder, .tar file, glob or brace pattern; path or URL.
        shard_size: images of an item, for a folder of images; each tar is one item.
        reading: how names and texts are read; by default as webdataset and img2dataset write them.

    Raises:
        BadInput: the source is empty, missing or not one kind of corpus.
    """
    reading = reading or Reading()
    if shard_size < 1:
        raise BadInput(f"shard size {shard_size}: must be at least 1")
    if not source.strip():
        raise BadInput("the corpus is an empty name; give a folder, a .tar or a pattern like 'tars/{00000..00010}.tar'")
    source = _absolute(source)
    if _is_folder(source):
        return _list_folder(source, shard_size, reading)
    if files.exists(source):
        _refuse_non_tar(source)
        root, _, name = source.rpartition("/")
        tars = {name: files.file_size(source)}
    elif any(mark in source for mark in "{*?["):
        root, tars = _expand(source)
    else:
        raise BadInput(f"{source}: not found")
    return Corpus(_items_of_tars(root, tars, reading))


def list_items(source: str, shard_size: int = 10_000, reading: Reading | None = None) -> list[ShardItem]:
    """The items of `list_corpus`."""
    return list_corpus(source, shard_size, reading).items


def read_item(
    item: ShardItem, max_bytes: int = MAX_IMAGE_BYTES, passed: PassedOver | None = None
) -> Iterator[Sample | Reject]:
    """Stream an item's samples in the source's order, with one sample in memory at a time.

    Images above `max_bytes` are rejected unread. I/O errors are raised, never turned into rejects, so that a lost
    network does not make a corpus look shorter.

    Args:
        passed: counts a tar's members that are no part of any sample.

    Raises:
        BadInput: a tar is gone, or has another size than when it was listed.
    """
    if item.kind == "tar":
        return read_tar_item(item, max_bytes, PassedOver() if passed is None else passed)
    return read_folder_item(item, max_bytes)


def _absolute(source: str) -> str:
    return str(files.local_path(source).absolute()) if files.is_local(source) else source.rstrip("/")


def _is_folder(source: str) -> bool:
    if files.is_local(source):
        return Path(source).is_dir()
    file_system, inside = files.resolve(source)
    return not source.endswith(".tar") and bool(file_system.isdir(inside))


def _is_of_a_tar(path: str, stems: Collection[str]) -> bool:
    """Whether a file is one that img2dataset and `clipmine download` write beside the tars, or their table."""
    return path.startswith("_table/") or path.removesuffix(".parquet").removesuffix("_stats.json") in stems


def _list_folder(root: str, shard_size: int, reading: Reading) -> Corpus:
    listing = list_folder(root, reading)
    if listing.tars and listing.images:
        raise BadInput(
            f"{root}: holds both tars ({min(listing.tars)}) and images ({min(listing.images)}); "
            f"name one kind, as in '{root}/*.tar'"
        )
    if listing.compressed:
        raise BadInput(f"{root}/{min(listing.compressed)}: {_COMPRESSED}")
    if listing.tars:
        stems = {path.removesuffix(".tar") for path in listing.tars}
        for path in (*listing.sidecars, *listing.odd, *listing.metadata, *listing.tables):
            if not _is_of_a_tar(path, stems):
                listing.others.add_file(path)
        return Corpus(_items_of_tars(root, listing.tars, reading), listing.others)
    if listing.has_images(root):
        folder = FolderCorpus(root, listing, reading)
        return Corpus(folder.items(shard_size), folder.passed_over, folder)
    if listing.tables:
        raise BadInput(f"{root}: holds no images but tables ({min(listing.tables)}); {_TABLE}")
    found = [*sorted(listing.odd), *listing.others.names][:_EXAMPLES]
    there = f"; it holds {', '.join(found)}, which are none" if found else ""
    raise BadInput(f"{root}: no corpus here; looked in it and below for .tar files and for images{there}")


def _items_of_tars(root: str, tars: dict[str, int], reading: Reading) -> list[ShardItem]:
    return [ShardItem(number, root, "tar", (name,), (tars[name],), reading) for number, name in enumerate(sorted(tars))]


_COMPRESSED = "a compressed tar gives no access to single images; decompress it first (gunzip, zstd -d, ...)"
_TABLE = "a table of URLs is downloaded first: `clipmine download TABLE --out DIR`, then DIR is read"


def _refuse_non_tar(path: str) -> None:
    name = path.lower()
    if name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")):
        raise BadInput(f"{path}: {_COMPRESSED}")
    if name.endswith((".parquet", ".csv", ".tsv")):
        raise BadInput(f"{path}: {_TABLE}")
    if not name.endswith(".tar"):
        raise BadInput(f"{path}: is neither a folder nor a .tar file")


def _expand(pattern: str) -> tuple[str, dict[str, int]]:
    """`(root, {path relative to it: size})` of a glob or brace pattern."""
    root = pattern[: min(pattern.index(mark) for mark in "{*?[" if mark in pattern)].rpartition("/")[0]
    # File systems spell the URL of one file differently, so names are compared below the root only.
    start = len(_inside(root).rstrip("/"))
    names: set[str] = set()
    for name in _expand_braces(pattern):
        matched = _glob(name) if any(mark in name for mark in "*?[") else [_inside(name)]
        names.update(path[start:].lstrip("/") for path in matched)
    if not names:
        raise BadInput(f"{pattern}: matches no file")
    found = sorted(names)
    for name in found:
        _refuse_non_tar(files.join(root, name))
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        sizes = list(pool.map(lambda name: _size_or_none(files.join(root, name)), found))
    missing = [name for name, size in zip(found, sizes, strict=True) if size is None]
    if missing:
        first = files.join(root, missing[0])
        raise BadInput(f"{pattern}: {len(missing):,} of its {len(found):,} files are not there, first {first}")
    return root, {name: size for name, size in zip(found, sizes, strict=True) if size is not None}


def _inside(path: str) -> str:
    return path if files.is_local(path) else files.resolve(path)[1]


def _expand_braces(pattern: str) -> list[str]:
    """Expand `{a,b}` and `{008..012}` as Bash does (leading zeros set the width), without nesting."""
    literals = re.split(r"\{([^{}]*)\}", pattern)
    example = "write it like 'tars/{00000..00010}.tar' or '{train,val}/*.tar'"
    if any(brace in literal for literal in literals[::2] for brace in "{}"):
        raise BadInput(f"{pattern}: has nested or unbalanced braces; {example}")
    names = [literals[0]]
    for choice, literal in zip(literals[1::2], literals[2::2], strict=True):
        interval = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", choice)
        first, last = (int(bound) for bound in interval.groups()) if interval else (0, choice.count(","))
        if last <= first and (interval is None or last < first):
            raise BadInput(f"{pattern}: {{{choice}}} is neither a rising range nor a list; {example}")
        if (last - first + 1) * len(names) > _MAX_FILES:
            raise BadInput(f"{pattern}: names over {_MAX_FILES:,} files; name the folder instead")
        if interval:
            width = max(map(len, interval.groups())) if any(b.startswith("0") for b in interval.groups()) else 0
            values = [f"{number:0{width}d}" for number in range(first, last + 1)]
        else:
            values = choice.split(",")
        names = [name + value + literal for name in names for value in values]
    return names


def _glob(pattern: str) -> list[str]:
    if files.is_local(pattern):
        found = glob.glob(pattern, recursive=True)  # noqa: PTH207  pathlib's takes no absolute patterns
        return [path for path in found if Path(path).is_file()]
    file_system, inside = files.resolve(pattern)
    try:
        return [str(name) for name in file_system.glob(inside)]
    except ValueError as error:  # fsspec's own rules for `**`
        raise BadInput(f"{pattern}: {error}") from error


def _size_or_none(path: str) -> int | None:
    try:
        return files.file_size(path)
    except FileNotFoundError:
        return None
