"""Which items of a corpus a store holds, read from few files, however many items there are.

An item's marker, `done/NNNN.json`, says what was written for it. A finished store has a copy of all markers in one
file, `done/all.jsonl`: a later run would else read tens of thousands of small files from an object store. The copy
counts as long as the manifest lists the parts that it was written with. Sizes of files come from listings, a thousand
to a request.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from index.corpus.samples import ShardItem
from index.files import hash_json, join, list_sizes, read_bytes, remove, write_atomic
from index.store.embed_item import EmbedConfig, hash_config, is_done
from index.store.markers import Marker, marker_from_json, marker_to_json, read_marker
from index.store.store_manifest import MANIFEST_NAME

__all__ = ["DoneItems", "remove_copy"]

_COPY = "all.jsonl"
_READERS = 16


class DoneItems:
    """The finished items of the store at `out`, as they were when this object was made.

    Attributes:
        markers: by item number, ascending.
        copied: the item numbers in `done/all.jsonl`, whose own markers may be gone.
        doubted: whether `undone` found a file that is not as the copy says.
    """

    def __init__(self, out: str) -> None:
        self.out = out
        listed = list_sizes(join(out, "done"))
        names = {name.removesuffix(".json"): size for name, size in listed.items() if name.endswith(".json")}
        self._marker_sizes = {int(name): names[name] for name in sorted(names) if name.isdigit()}
        numbers = sorted(self._marker_sizes)
        copied = _read_copy(out) if _COPY in listed else {}
        self.copied = frozenset(copied)
        self.doubted = False
        self._copies = {
            number: marker for number, (size, marker) in copied.items() if size == self._marker_sizes.get(number)
        }
        single = [number for number in numbers if number not in self._copies]
        with ThreadPoolExecutor(_READERS) as pool:
            read = dict(zip(single, pool.map(lambda number: read_marker(out, number), single), strict=True))
        found = {number: self._copies.get(number) or read.get(number) for number in numbers}
        self.markers: Mapping[int, Marker] = {number: each for number, each in found.items() if each is not None}

    def undone(self, items: Iterable[ShardItem], config: EmbedConfig) -> list[ShardItem]:
        """The items that are not done, as `index.store.embed_item.is_done` says."""
        config_hash = hash_config(config)  # once: it reads the files of a model folder
        return [item for item in items if not self._is_done(item, config, config_hash)]

    def _is_done(self, item: ShardItem, config: EmbedConfig, config_hash: str) -> bool:
        marker = self.markers.get(item.number)
        if marker is None or marker.signature != item.signature or marker.config_hash != config_hash:
            return False
        if all(self._sizes.get(record.path) == record.size for record in marker.files.values()):
            return True
        if item.number not in self.copied:
            return False
        self.doubted = True
        return is_done(item, config)  # its own marker may say otherwise

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Sizes of the files beside those that the markers list, by their paths in the store."""
        listed = (record.path for marker in self.markers.values() for record in marker.files.values())
        folders = sorted({path.rpartition("/")[0] for path in listed})
        with ThreadPoolExecutor(_READERS) as pool:
            sizes = pool.map(lambda folder: list_sizes(join(self.out, folder)), folders)
            found = dict(zip(folders, sizes, strict=True))
        return {join(folder, name): size for folder, files in found.items() for name, size in files.items()}

    def is_copied(self, numbers: Iterable[int]) -> bool:
        """Whether `done/all.jsonl` holds the markers of these items and of no others."""
        return self.copied == self._copies.keys() == set(numbers)

    def write_copy(self, numbers: Iterable[int]) -> None:
        """Write `done/all.jsonl` for these items; call it when the manifest that belongs to them is written."""
        lines = [json.dumps({"parts": _parts_hash(self.out)})]
        lines += [self._copy_line(number) for number in numbers]
        write_atomic(join(self.out, "done", _COPY), "\n".join(lines) + "\n")

    def _copy_line(self, number: int) -> str:
        return json.dumps([number, self._marker_sizes[number], marker_to_json(self.markers[number])], sort_keys=True)


def remove_copy(out: str) -> None:
    """Delete `done/all.jsonl`; call it before an item's own marker changes."""
    remove(join(out, "done", _COPY))


def _read_copy(out: str) -> dict[int, tuple[int, Marker]]:
    """Sizes of marker files, and the markers, by item number; none where the copy is damaged, or of other parts."""
    try:
        head, *lines = read_bytes(join(out, "done", _COPY)).splitlines()
        if json.loads(head)["parts"] != _parts_hash(out):
            return {}
        return {number: (size, marker_from_json(plain)) for number, size, plain in map(json.loads, lines)}
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _parts_hash(out: str) -> str:
    """A hash of the parts in the manifest, which compaction changes; FileNotFoundError without a manifest."""
    return hash_json(json.loads(read_bytes(join(out, MANIFEST_NAME)))["parts"])
