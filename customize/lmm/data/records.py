"""A file of conversations (JSON, JSONL, Parquet) as a source, with random access to its samples by number.

The file is read once, front to back, and written as an Arrow file that is memory-mapped: 10^6 samples then take little
memory, and the next run with the same `cache` folder opens it at once. A record that cannot be used keeps its number,
as a SkippedSample that says why.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from customize.lmm.data.record_forms import IMAGE_FIELDS, parse_record
from customize.lmm.data.sample import ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import Numbers, PlacedImage
from index.corpus.image_decoding import image_extension
from index.errors import BadInput, ClipmineError
from index.files import (
    atomic_file,
    exists,
    file_size,
    hash_json,
    is_local,
    join,
    join_inside,
    local_path,
    read_bytes,
    write_atomic,
)
from mining.export.member_images import read_below
from mining.sets.annotation import Turn
from mining.sets.importers.record import RecordRejected
from mining.sets.importers.record_files import Unread, read_records

__all__ = ["RecordSource"]

_VERSION = 2  # of the Arrow file
_ROWS = 1024  # samples in a batch of the Arrow file
_BATCH_BYTES = 64 << 20  # of images in a batch
_FILE = "file:"  # a place that begins so is an image within the records
_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("turns", pa.string()),  # JSON: [[role, [part, ...]], ...]
        ("images", pa.list_(pa.string())),  # names in the image folder, or the sha256 of a file in the record
        ("held", pa.bool_()),  # whether the images are files of the record
        ("files", pa.list_(pa.large_binary())),
        ("reason", pa.string()),  # why the record cannot be used
        ("detail", pa.string()),
    ]
)


class RecordSource:
    """The samples of one file of conversations."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
        name: str | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        """images: the folder that the image names are in; by default `images` beside the file, else the file's folder.

        cache: where the Arrow file is kept; by default in a temporary folder that ends with this object. Raises
        BadInput where the file or the folder is not there, the file is of another kind, or no record can be used.
        """
        self.path = os.fspath(path)
        self.name = name or Path(self.path).name
        self.root = _image_root(self.path, images)
        self._folder = _kept_folder(self, cache)
        self._place = _spooled(self.path, self._folder)
        self._digest = str(json.loads(read_bytes(f"{self._place}.json"))["digest"])
        self._open()

    def _open(self) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(self._place)).read_all()
        self._local = is_local(self.root)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def digest(self) -> str:
        return hash_json([self._digest, self.root])

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        columns = self._table.select(["sample_id", "turns", "images", "held", "reason", "detail"])
        for first in range(0, len(numbers), _ROWS):
            window = numbers[first : first + _ROWS]
            neighbours = (np.diff(window) == 1).all()
            rows = columns.slice(window[0], len(window)) if neighbours else columns.take(pa.array(window))
            for number, row in zip(window.tolist(), rows.to_pylist(), strict=True):
                yield self._sample(number, row)

    def image(self, key: str, place: str) -> ImageFile:
        if place.startswith(_FILE):
            return PlacedImage(key, lambda: self._file(place), place)
        return PlacedImage(key, lambda: self._named(place), place)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_table", "_finalizer")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _sample(self, number: int, row: dict[str, Any]) -> LmmSample | SkippedSample:
        if row["reason"] is not None:
            return SkippedSample(row["sample_id"], self.name, row["reason"], row["detail"])
        images: list[ImageFile] = []
        for position, name in enumerate(row["images"]):
            if row["held"]:
                images.append(self.image(name, f"{_FILE}{number}/{position}"))
                continue
            if problem := self._missing(name):
                return SkippedSample(row["sample_id"], self.name, problem, name[:200])
            images.append(self.image(join(self.root, name), name))
        turns = tuple(Turn(role, tuple(parts)) for role, parts in json.loads(row["turns"]))
        return LmmSample(row["sample_id"], self.name, turns, tuple(images))

    def _missing(self, name: str) -> str | None:
        """Why the image cannot be there. Only names are looked at in a folder that is not local."""
        try:
            place = join_inside(self.root, name)
        except BadInput:
            return "an image outside the image folder"
        return "a missing image" if self._local and not local_path(place).is_file() else None

    def _named(self, name: str) -> bytes:
        found = read_below(self.root, name)
        if isinstance(found, str):
            raise ClipmineError(f"{join(self.root, name)}: {found}")
        if image_extension(found) is None:
            raise ClipmineError(f"{join(self.root, name)}: is no image of a known format")
        return found

    def _file(self, place: str) -> bytes:
        number, _, position = place.removeprefix(_FILE).partition("/")
        return bytes(self._table["files"][int(number)][int(position)].as_py())


def _image_root(path: str, images: str | os.PathLike[str] | None) -> str:
    if images is None:
        root = path.rpartition("/")[0] or "."
        root = join(root, "images") if exists(join(root, "images")) else root
    else:
        root = os.fspath(images)
    if not exists(root) or (is_local(root) and not local_path(root).is_dir()):
        raise BadInput(f"{root}: the folder of the images of {path} is not there; name it by images=FOLDER")
    return str(local_path(root).absolute()) if is_local(root) else root


def _kept_folder(owner: RecordSource, cache: str | os.PathLike[str] | None) -> str:
    if cache is not None:
        return os.fspath(cache)
    folder = tempfile.TemporaryDirectory(prefix="clipmine-records-")
    owner._finalizer = weakref.finalize(owner, folder.cleanup)  # type: ignore[attr-defined]
    return folder.name


def _spooled(path: str, folder: str) -> str:
    """The Arrow file of the records, written into `folder` unless it is there; its .json is written last."""
    if is_local(path) and local_path(path).is_dir():
        raise BadInput(f"{path}: is a folder without a manifest.json; name a file of conversations or image sets")
    if not exists(path):
        raise BadInput(f"{path}: does not exist")
    changed = local_path(path).stat().st_mtime_ns if is_local(path) else None
    whole = str(local_path(path).absolute()) if is_local(path) else path
    key = hash_json([whole, file_size(path), changed, _VERSION])[:24]
    place = str(local_path(join(folder, f"records-{key}.arrow")))
    if exists(f"{place}.json") and exists(place):
        return place
    counts = {"rows": 0, "usable": 0}
    digest = hashlib.sha256()
    first_problem = ""
    with atomic_file(place) as partial, pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        for batch in _batches(path):
            writer.write_batch(batch)
            reasons = batch["reason"]
            counts["rows"] += len(batch)
            counts["usable"] += reasons.null_count
            for column in ("sample_id", "turns", "images", "reason"):
                digest.update(json.dumps(batch[column].to_pylist()).encode())
            if not first_problem and reasons.null_count < len(batch):
                place_of = next(place for place, reason in enumerate(reasons.to_pylist()) if reason is not None)
                first_problem = f"{reasons[place_of]} ({batch['detail'][place_of]})"
        if not counts["usable"]:
            what = f"none of its {counts['rows']} records can be used; the first: {first_problem}"
            raise BadInput(f"{path}: {what if counts['rows'] else 'has no records'}")
    write_atomic(f"{place}.json", json.dumps({"digest": digest.hexdigest(), **counts}))
    return place


def _batches(path: str) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    held = 0
    for number, record in enumerate(read_records(path, IMAGE_FIELDS)):
        row = _row(number, record)
        held += sum(map(len, row["files"]))
        rows.append(row)
        if len(rows) == _ROWS or held > _BATCH_BYTES:
            yield pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)
            rows, held = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)


def _row(number: int, record: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sample_id": str(number),
        "turns": None,
        "images": [],
        "held": False,
        "files": [],
        "reason": None,
        "detail": "",
    }
    if isinstance(record, Unread):
        return {**row, "reason": record.reason, "detail": record.detail}
    try:
        draft = parse_record(record)
        files = [image.data for image in draft.images if image.data is not None]
        names = [image.name or "" for image in draft.images]
        if files and len(files) != len(draft.images):
            raise RecordRejected("images of two kinds", "names and files")
        if not files and "" in names:
            raise RecordRejected("an image that is a URL", "download the images first")
    except RecordRejected as error:
        return {**row, "reason": error.reason, "detail": f"record {number + 1}: {error.detail}"}
    if files:
        names = [hashlib.sha256(file).hexdigest() for file in files]
    turns = [[turn.role, list(turn.parts)] for turn in draft.said[0].turns]
    own = draft.record_id or str(number)
    return {**row, "sample_id": own, "turns": json.dumps(turns), "images": names, "held": bool(files), "files": files}
