"""Selected images as webdataset tars in the shape that img2dataset writes, one output shard a work item.

    00000.tar              000000000.jpg (the original bytes), .txt (the caption), .json (all that is known)
    00000.parquet          the .json's fields for each row, with status and error_message, failures included
    00000_stats.json       written last: counts by status

Keys are img2dataset's (shard and position), since a store's keys may repeat across shards or hold dots and slashes,
which webdataset splits at; the store's own key is `source_key`. Tars hold no times, so the same selection gives the
same bytes. Knows the selection and the corpus, no retrieval.
"""

from __future__ import annotations

import functools
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.corpus.images import image_extension
from index.store.read_image import read_image
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from index.files import atomic_file, exists, hash_json, join, read_bytes, write_atomic
from index.store.embedding_store import EmbeddingStore
from retrieval.selection import SELECTION_SCHEMA, Selection, distinct_rows

__all__ = ["ExportConfig", "ExportItem", "export_item", "is_export_item_done", "list_export_items"]

_READERS = 8
_WINDOW = 256
_STORE_COLUMNS = ("key", "shard", "offset", "size", "captions", "width", "height", "sha256", "extra")


@dataclass(frozen=True)
class ExportConfig:
    """`store` overrides the selection's own path to its store."""

    selection: str
    out: str
    store: str | None = None
    samples_per_shard: int = 10_000


@dataclass(frozen=True)
class ExportItem:
    """One output shard: the selection's distinct rows first .. last - 1, in row id order."""

    number: int
    first: int
    last: int


def list_export_items(config: ExportConfig) -> list[ExportItem]:
    """The output shards; BadInput for an empty selection, ImagesNotLocal when the store has no images to export."""
    if config.samples_per_shard < 1:
        raise BadInput(f"samples per shard {config.samples_per_shard}: must be at least 1")
    selection = Selection.open(config.selection)
    if not selection.rows:
        raise BadInput(f"{config.selection}: selected no rows, so there is nothing to export; loosen its rules")
    if selection.store(config.store).corpus_root is None:
        raise ImagesNotLocal(
            f"{config.selection}: its store has embeddings and no images; export a URL list (--format urls), or "
            "download what was selected with `clipmine fetch`"
        )
    count = _selected(selection).num_rows
    size = config.samples_per_shard
    return [ExportItem(number, first, min(first + size, count)) for number, first in enumerate(range(0, count, size))]


def shard_name(number: int) -> str:
    return f"{number:05d}"


def is_export_item_done(item: ExportItem, config: ExportConfig) -> bool:
    return exists(join(config.out, f"{shard_name(item.number)}_stats.json"))


def export_item(item: ExportItem, config: ExportConfig) -> dict[str, Any]:
    """Write one shard; return its stats: count, successes, failed_to_download, failed_to_resize, status_dict."""
    name = shard_name(item.number)
    stats_path = join(config.out, f"{name}_stats.json")
    if exists(stats_path):
        done: dict[str, Any] = json.loads(read_bytes(stats_path))
        return done
    selection = Selection.open(config.selection)
    store = selection.store(config.store)
    chosen = _selected(selection).slice(item.first, item.last - item.first)
    records: list[dict[str, Any]] = []
    digits = len(str(config.samples_per_shard - 1))
    with (
        atomic_file(join(config.out, f"{name}.tar")) as partial,
        tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for place, (record, image) in enumerate(_read_rows(store, chosen)):
            record["key"] = f"{name}{place:0{digits}d}"
            extra = record.pop("extra")
            if image is not None:
                _add_sample(tar, record, image, extra)
            records.append(record)
    with atomic_file(join(config.out, f"{name}.parquet")) as partial:
        pq.write_table(pa.Table.from_pylist(records, _PARQUET_SCHEMA), partial)
    statuses: dict[str, int] = {}
    for record in records:
        status = record["error_message"] or record["status"]
        statuses[status] = statuses.get(status, 0) + 1
    successes = statuses.get("success", 0)
    stats = {
        "count": len(records),
        "successes": successes,
        "failed_to_download": len(records) - successes,
        "failed_to_resize": 0,
        "status_dict": dict(sorted(statuses.items())),
    }
    write_atomic(stats_path, json.dumps(stats, indent=4))
    return stats


_PARQUET_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),  # success or failed_to_download, img2dataset's words
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("sha256", pa.string()),
        ("source_key", pa.string()),
        ("source_shard", pa.string()),
        ("concepts", pa.list_(pa.string())),
        *[
            (name, SELECTION_SCHEMA.field(name).type)
            for name in ("row_id", "concept", "prompt", "mode", "score", "rank")
        ],
        ("both_ways", pa.bool_()),
    ]
)


def _selected(selection: Selection) -> pa.Table:
    return _distinct(selection.path, hash_json(selection.manifest))


@functools.lru_cache(maxsize=2)
def _distinct(selection: str, identity: str) -> pa.Table:
    """A worker's items share it; `identity` is there so that a path that was written anew is read anew."""
    return distinct_rows(Selection.open(selection).table())


class _KnownRows:
    """A store whose metadata for a few rows was read already, so that `read_image` asks no file for each image."""

    def __init__(self, store: EmbeddingStore, row_ids: npt.NDArray[np.int64]) -> None:
        self.rows = store.rows
        self.corpus_root = store.corpus_root
        self.forgotten = store.forgotten
        self.table = store.metadata(row_ids, list(_STORE_COLUMNS))
        self._places = {int(row): place for place, row in enumerate(row_ids)}

    def metadata(self, row_ids: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
        rows = self.table.slice(self._places[int(row_ids[0])], 1)
        return rows if columns is None else rows.select(list(columns))


def _read_rows(store: EmbeddingStore, chosen: pa.Table) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Each row's record and its image's bytes, in order; None for an image that cannot be had."""
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, chosen.num_rows, _WINDOW):
            window = chosen.slice(start, _WINDOW)
            row_ids = window.column("row_id").to_numpy()
            known = _KnownRows(store, row_ids)
            gone = store.is_forgotten(row_ids)
            images = readers.map(lambda pair, known=known: _read(known, *pair), zip(row_ids, gone, strict=True))
            for row, own, (image, problem) in zip(window.to_pylist(), known.table.to_pylist(), images, strict=True):
                if problem != "forgotten" and own["key"] != row["key"]:
                    raise StoreInvalid(
                        f"{store.path}: row {row['row_id']} is {own['key']!r}, the selection says {row['key']!r}; this "
                        "is another store"
                    )
                yield _record(row, own, problem), image


def _read(known: _KnownRows, row_id: int, gone: bool) -> tuple[bytes | None, str | None]:
    if gone:
        return None, "forgotten"
    try:
        image = read_image(known, int(row_id))
    except ImagesNotLocal:
        return None, "missing"
    except StoreInvalid:
        return None, "changed"
    except OSError as error:
        return None, f"unreadable: {error.strerror or type(error).__name__}"
    return (image, None) if image_extension(image) else (None, "unknown format")


def _record(row: dict[str, Any], own: dict[str, Any], problem: str | None) -> dict[str, Any]:
    """What is written of a row; a forgotten row keeps nothing but its id."""
    if problem == "forgotten":
        row = {"row_id": row["row_id"], "concept": row["concept"], "concepts": row["concepts"]}
    record = {
        **{name: row.get(name) for name in _PARQUET_SCHEMA.names},
        "status": "success" if problem is None else "failed_to_download",
        "error_message": problem,
        "sha256": own["sha256"],
        "source_key": row.get("key"),
        "source_shard": row.get("shard"),
        "extra": own["extra"],
    }
    for name in ("width", "height"):
        record[name] = record[f"original_{name}"] = own[name]
    if own["captions"] and len(own["captions"]) > 1:
        record["captions"] = own["captions"]
    return record


def _add_sample(tar: tarfile.TarFile, record: dict[str, Any], image: bytes, extra: str | None) -> None:
    """The sample's three files; a truth that came with the image (`extra`) stays in the .json, below our fields."""
    truth = json.loads(extra) if extra else {}
    captions = {"captions": record.pop("captions")} if "captions" in record else {}
    fields = {**truth, **record, **captions}
    for suffix, data in (
        (image_extension(image), image),
        ("txt", (record["caption"] or "").encode()),
        ("json", json.dumps(fields, indent=4).encode()),
    ):
        member = tarfile.TarInfo(f"{record['key']}.{suffix}")
        member.size = len(data)
        member.mode = 0o644
        tar.addfile(member, io.BytesIO(data))
