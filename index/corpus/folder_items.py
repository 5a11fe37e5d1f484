"""A folder of images as a corpus: its work items, and reading an item's images with their side-car files.

A sample's shard is the image file itself, its key is the file's path without the extension (`index.corpus.names`).
`a.txt`, `a.caption` and `a.json` belong to the first image of key `a`; `a.jpg.txt`, `a.jpg.json` and rows of
`metadata.jsonl` to the very file. Of several images of a key the first has it. Another is a sample, with its whole name
as its key, where a side-car or row names its file, or where its name is no usual one, as `a.jpg?w=300`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from index import files
from index.corpus.captions import CaptionReader
from index.corpus.image_decoding import image_extension
from index.corpus.image_folder import Listing, broken_link
from index.corpus.metadata_files import read_metadata_files
from index.corpus.names import NameRules
from index.corpus.reading import Reading
from index.corpus.samples import MAX_SIDECAR_BYTES, Reject, Sample, ShardItem, make_sample

__all__ = ["FolderCorpus", "read_folder_item"]


@dataclass
class _Group:
    """The files of one key, sorted."""

    images: list[str] = field(default_factory=list)
    sidecars: list[str] = field(default_factory=list)


def _group(rules: NameRules, images: Collection[str], sidecars: Collection[str]) -> tuple[dict[str, _Group], list[str]]:
    """Images with their side-cars by key, and side-cars without an image."""
    groups: dict[str, _Group] = {}
    for path in sorted(images):
        groups.setdefault(rules.file_stem(path), _Group()).images.append(path)
    known, lonely = frozenset(images), []
    for path in sorted(sidecars):
        stem = path.rpartition(".")[0]
        group = groups.get(rules.file_stem(stem) if stem in known else stem)
        if group is None:
            lonely.append(path)
        else:
            group.sidecars.append(path)
    return groups, lonely


class FolderCorpus:
    """A folder's images, to be cut into work items. Listing and metadata files are read once."""

    def __init__(self, root: str, listing: Listing, reading: Reading) -> None:
        self.root, self._reading, self.passed_over = root, reading, listing.others
        self._sizes = {**listing.images, **listing.odd, **listing.sidecars}
        images = [*listing.images, *listing.odd, *listing.linked_folders]
        self._rules = listing.rules
        self.groups, lonely = _group(listing.rules, images, listing.sidecars)
        self._lines: dict[str, str] = {}
        for path in (*lonely, *listing.tables):
            self.passed_over.add_file(path)
        if listing.metadata:
            encoding = reading.caption_encoding
            self._lines = read_metadata_files(root, listing.metadata, images, encoding, self.passed_over)

    @property
    def images(self) -> frozenset[str]:
        """The paths of all images."""
        return frozenset(path for group in self.groups.values() for path in group.images)

    def item(self, number: int, images: Collection[str], *, usual_only: bool = False) -> ShardItem:
        """The work item of some images, with the side-cars of their keys.

        usual_only: of side-cars, only `KEY.txt` and `KEY.json`.
        """
        keys = sorted({self._rules.file_stem(path) for path in images})
        paths = [path for key in keys for path in self._paths(key, frozenset(images), usual_only)]
        sizes = tuple(self._sizes.get(path, 0) for path in paths)
        lines = {path: self._lines[path] for path in paths if path in self._lines and not usual_only}
        return ShardItem(number, self.root, "folder", tuple(paths), sizes, self._reading, lines)

    def _paths(self, key: str, images: frozenset[str], usual_only: bool) -> list[str]:
        """The paths of some of a key's images and of its side-cars, sorted."""
        group = self.groups[key]
        usual = [f"{key}.txt", f"{key}.json"]
        sidecars = [
            path
            for path in group.sidecars
            if not usual_only or path.rpartition(".")[0] + path[path.rindex(".") :].lower() in usual
        ]
        return sorted([*(path for path in group.images if path in images), *sidecars])

    def items(self, shard_size: int, without: Collection[str] = frozenset()) -> list[ShardItem]:
        """The items of all images but those of `without`, numbered in the order of their keys.

        All images of a key are in one item, and so many keys are in an item as `shard_size` says.
        """
        left = [images for _, images in sorted(self._left(without))]
        groups = [left[start : start + shard_size] for start in range(0, len(left), shard_size)]
        return [self.item(number, [path for images in group for path in images]) for number, group in enumerate(groups)]

    def _left(self, without: Collection[str]) -> Iterator[tuple[str, list[str]]]:
        for key, group in self.groups.items():
            images = [path for path in group.images if path not in without]
            if images:
                yield key, images


def read_folder_item(item: ShardItem, max_bytes: int) -> Iterator[Sample | Reject]:
    """Read an item's images in order. An image that is gone since the folder was listed is a reject, not an error."""
    reader = _FolderReader(item, max_bytes)
    groups, _ = _group(reader.rules, reader.images, reader.sidecars)
    for key, group in groups.items():
        yield from reader.read_group(key, group)


class _FolderReader:
    """Reads the images of one item."""

    def __init__(self, item: ShardItem, max_bytes: int) -> None:
        self._item, self._max_bytes = item, max_bytes
        self.rules = NameRules.of(item.reading)
        self._captions = CaptionReader.of(item.reading)
        self._sizes = dict(zip(item.paths, item.sizes, strict=True))
        self._kinds = {path: self.rules.file_kind(path) for path in item.paths}
        self.sidecars = [path for path, kind in self._kinds.items() if kind in ("text", "json")]
        self.images = [path for path, kind in self._kinds.items() if kind not in ("text", "json")]

    def read_group(self, key: str, group: _Group) -> Iterator[Sample | Reject]:
        """The samples of one key."""
        # A name that ends in an image's extension comes before one that does not, such as a.jpg?w=300.
        raws = [path for path in group.images if self._kinds[path] == "raw"]
        images = sorted(
            (path for path in group.images if path not in raws), key=lambda path: self._kinds[path] == "odd"
        )
        by_name = {path: self._own_sidecars(path, group.sidecars) for path in images}
        of_key = self._own_sidecars(key, group.sidecars)
        usual = any(self._kinds[path] == "image" for path in images)
        for position, path in enumerate(images):
            own = by_name[path]
            # What stands beside several files of odd names may belong to any of them.
            has_key = position == 0 and (usual or len(images) == 1)
            if has_key:
                yield self._read_one(key, key, path, {**of_key, **own})
            elif own or path in self._item.lines or self._kinds[path] != "image":
                yield self._read_one(path, key, path, own)
            else:
                yield Reject(key, path, "read", "second_image")
        for path in raws:
            yield Reject(key, path, "read", "camera_raw")

    def _own_sidecars(self, stem: str, sidecars: Collection[str]) -> dict[str, str]:
        """The side-cars `stem.extension`: one text and one json."""
        extensions = {path.rpartition(".")[2].lower(): path for path in sidecars if path.rpartition(".")[0] == stem}
        text = next((each for each in self.rules.text_order if each in extensions), None)
        found = {} if text is None else {"text": extensions[text]}
        return {**found, "json": extensions["json"]} if "json" in extensions else found

    def _read_one(self, key: str, stem: str, path: str, sidecars: Mapping[str, str]) -> Sample | Reject:
        item = self._item
        if self._sizes[path] > self._max_bytes or any(
            self._sizes[name] > MAX_SIDECAR_BYTES for name in sidecars.values()
        ):
            return Reject(key, path, "read", "too_many_bytes")
        found: dict[str, bytes] = {}
        try:
            for kind, name in [("image", path), *sidecars.items()]:
                if reason := broken_link(item.root, name):
                    return Reject(key, path, "read", reason)
                found[kind] = files.read_bytes(files.join(item.root, name))
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            return Reject(key, path, "read", "unreadable")
        image = found["image"]
        if len(image) > self._max_bytes:  # it grew since it was listed
            return Reject(key, path, "read", "too_many_bytes")
        if self._kinds[path] == "odd" and image_extension(image) is None:
            return Reject(key, path, "read", "not_an_image")
        line = item.lines.get(path)
        sidecar = found.get("json") if line is None else line.encode()
        return make_sample(key, path, 0, image, found.get("text"), sidecar, self._captions, stem)
