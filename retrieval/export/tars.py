"""Selected images as webdataset tars in the shape that img2dataset writes, one output shard a work item.

    00000.tar              000000000.jpg (the original bytes), .txt (the caption), .json (all other fields),
                           .cls (the class id, where all ids of the concept list are whole numbers)
    00000.parquet          the .json's fields for each row, with status and error_message, failures included
    00000_stats.json       written last: counts by status

Keys are img2dataset's (shard and position), since a store's keys may repeat across shards or hold dots and slashes,
which webdataset splits at; the store's own key is `source_key`. Modification times in the tars are zero, so the same
selection gives the same bytes. Loaders of trainers read some formats only (LOADED): an image in another one is exported
as it is and counted, or re-encoded as JPEG or PNG, upright and in 8-bit RGB, where that is asked for. A row that was
forgotten keeps its number and has no sample; a shard with samples of rows that were forgotten since is not done, and is
written again.
"""

from __future__ import annotations

import functools
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.corpus.image_decoding import ImageRejected, decode_image, image_extension
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from index.files import atomic_file, exists, hash_json, join, read_bytes, remove, write_atomic
from index.parquet import read_parquet
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image_at
from retrieval.distinct_rows import distinct_rows
from retrieval.selection import SELECTION_SCHEMA, Selection

__all__ = [
    "ENCODINGS",
    "FORGOTTEN",
    "LOADED",
    "ExportConfig",
    "ExportItem",
    "delete_shards",
    "export_item",
    "list_export_items",
    "undone_items",
]

FORGOTTEN = "forgotten"  # why a row has no sample
# Formats that open_clip's loader takes; it drops samples of any other without a word (open_clip_train/data.py,
# filter_no_caption_or_no_image). It knows "jpeg" too, which we write as "jpg".
LOADED = ("jpg", "png", "webp")
# Pillow's arguments: what JPEG loses at this quality cannot be seen, and colours keep their resolution.
ENCODINGS: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    "png": {"format": "PNG"},
}
_READERS = 8
_WINDOW = 256
_STORE_COLUMNS = ("key", "shard", "offset", "size", "captions", "width", "height", "sha256", "extra")


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and how.

    selection, out: paths. store: path of the store, instead of the one that the selection records. reencode: "jpg" or
    "png", the format to write images in that are in none of LOADED; None leaves them as they are.
    """

    selection: str
    out: str
    store: str | None = None
    shard_size: int = 10_000
    reencode: str | None = None

    def __post_init__(self) -> None:
        if self.reencode not in (None, *ENCODINGS):
            raise BadInput(f"reencode {self.reencode!r}: unknown; valid ones: {', '.join(ENCODINGS)}")


@dataclass(frozen=True)
class ExportItem:
    """One output shard: rows first .. last - 1 of the selection's distinct rows in row id order."""

    number: int
    first: int
    last: int


def list_export_items(config: ExportConfig) -> list[ExportItem]:
    """The output shards; BadInput for an empty selection, ImagesNotLocal when the store has no images to export."""
    if config.shard_size < 1:
        raise BadInput(f"shard_size {config.shard_size}: must be at least 1")
    selection = Selection.open(config.selection, store=config.store)
    count = _selected(selection).num_rows
    if not count:
        raise BadInput(f"{config.selection}: selected no rows, so there is nothing to export; loosen its rules")
    if selection.store(config.store).corpus_root is None:
        raise ImagesNotLocal(
            f"{config.selection}: its store has embeddings and no images; export a URL list (--format urls), or "
            "download what was selected with `clipmine fetch`"
        )
    size = config.shard_size
    return [ExportItem(number, first, min(first + size, count)) for number, first in enumerate(range(0, count, size))]


def shard_name(number: int) -> str:
    return f"{number:05d}"


def undone_items(config: ExportConfig) -> list[ExportItem]:
    """The output shards that are not written yet, or have a sample or a field of a row that is forgotten now."""
    store = Selection.open(config.selection, store=config.store).store()
    return [item for item in list_export_items(config) if not _is_done(item, config, store)]


def delete_shards(config: ExportConfig) -> None:
    """Delete the output shards."""
    for item in list_export_items(config):
        for ending in ("_stats.json", ".parquet", ".tar"):
            remove(join(config.out, f"{shard_name(item.number)}{ending}"))


def _is_done(item: ExportItem, config: ExportConfig, store: EmbeddingStore) -> bool:
    name = join(config.out, shard_name(item.number))
    if not exists(f"{name}_stats.json"):
        return False
    if not len(store.forgotten):
        return True
    table = read_parquet(f"{name}.parquet", ["row_id", "error_message"])
    shown = pc.fill_null(pc.not_equal(table["error_message"], FORGOTTEN), True)
    return not store.is_forgotten(table["row_id"].filter(shown).to_numpy()).any()


def export_item(item: ExportItem, config: ExportConfig) -> dict[str, Any]:
    """Write one shard; return its stats: count, successes, failed_to_download, failed_to_resize, status_dict."""
    name = shard_name(item.number)
    stats_path = join(config.out, f"{name}_stats.json")
    selection = Selection.open(config.selection, store=config.store)
    store = selection.store()
    if _is_done(item, config, store):
        done: dict[str, Any] = json.loads(read_bytes(stats_path))
        return done
    chosen = _selected(selection).slice(item.first, item.last - item.first)
    records: list[dict[str, Any]] = []
    formats: Counter[str] = Counter()
    with_class = _ids_are_numbers(selection)
    digits = len(str(config.shard_size - 1))
    with (
        atomic_file(join(config.out, f"{name}.tar")) as partial,
        tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for place, (record, image) in enumerate(_read_rows(store, chosen)):
            record["key"] = f"{name}{place:0{digits}d}"
            extra = record.pop("extra")
            if image is not None:
                image = _reencoded(image, record, config.reencode)
            if image is not None:
                formats[image_extension(image) or ""] += 1
                _add_sample(tar, record, image, extra, with_class=with_class)
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
        "formats": dict(sorted(formats.items())),  # ours: images by format
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
        ("class_ids", pa.list_(pa.string())),  # of `concepts`; null where the concept list gave none
        *[
            (name, SELECTION_SCHEMA.field(name).type)
            for name in ("row_id", "concept", "class_id", "prompt", "mode", "score", "rank")
        ],
        ("both_ways", pa.bool_()),
    ]
)


def _selected(selection: Selection) -> pa.Table:
    return _distinct(selection.path, hash_json(selection.manifest))


@functools.lru_cache(maxsize=2)
def _distinct(selection: str, identity: str) -> pa.Table:
    """The distinct rows of a selection, shared by the items of a worker; `identity` changes when it is written anew.

    Forgotten rows are among them, so that the others keep their numbers.
    """
    return distinct_rows(Selection.open(selection).table(include_forgotten=True))


def _read_rows(store: EmbeddingStore, chosen: pa.Table) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Each row's record and its image's bytes, in order; None for an image that cannot be read."""
    assert store.corpus_root is not None  # checked by list_export_items
    read = functools.partial(_read, store.corpus_root)
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, chosen.num_rows, _WINDOW):
            window = chosen.slice(start, _WINDOW)
            row_ids = window.column("row_id").to_numpy()
            known = store.metadata(row_ids, list(_STORE_COLUMNS)).to_pylist()
            images = readers.map(read, row_ids.tolist(), known, store.is_forgotten(row_ids).tolist())
            for row, own, (image, problem) in zip(window.to_pylist(), known, images, strict=True):
                if problem != FORGOTTEN and own["key"] != row["key"]:
                    raise StoreInvalid(
                        f"{store.path}: row {row['row_id']} is {own['key']!r}, the selection says {row['key']!r}; this "
                        "is another store"
                    )
                yield _record(row, own, problem), image


def _read(corpus_root: str, row_id: int, row: dict[str, Any], forgotten: bool) -> tuple[bytes | None, str | None]:
    """An image's bytes, or why there are none."""
    if forgotten:
        return None, FORGOTTEN
    try:
        image = read_image_at(corpus_root, row_id, row)
    except ImagesNotLocal:
        return None, "missing"
    except StoreInvalid:
        return None, "changed"
    except OSError as error:
        return None, f"unreadable: {error.strerror or type(error).__name__}"
    return (image, None) if image_extension(image) else (None, "unknown format")


def _record(row: dict[str, Any], own: dict[str, Any], problem: str | None) -> dict[str, Any]:
    """A row's fields as they are written; a forgotten row keeps only its id and concepts."""
    if problem == FORGOTTEN:
        row = {name: row[name] for name in ("row_id", "concept", "class_id", "concepts", "class_ids")}
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


def _ids_are_numbers(selection: Selection) -> bool:
    """Whether each concept has an id that is a whole number, as webdataset reads a `.cls`."""
    return all(each is not None and each.isascii() and each.isdecimal() for each in selection.class_ids)


def _reencoded(image: bytes, record: dict[str, Any], encoding: str | None) -> bytes | None:
    """The image in a format that loaders read; None, with the reason in `record`, where it cannot be decoded.

    It is decoded as it was for its embedding: of an animation the first frame.
    """
    format = image_extension(image)
    if encoding is None or format in LOADED:
        return image
    stream = io.BytesIO()
    try:
        decoded = decode_image(image)
    except ImageRejected as error:
        record |= {"status": "failed_to_download", "error_message": f"not re-encoded: {error.reason}"}
        return None
    decoded.save(stream, **ENCODINGS[encoding])
    record["reencoded_from"] = format
    return stream.getvalue()


def _add_sample(
    tar: tarfile.TarFile, record: dict[str, Any], image: bytes, extra: str | None, *, with_class: bool
) -> None:
    """Add the sample's files. Fields that came with the image (`extra`) go into the .json too; ours win."""
    from_corpus = json.loads(extra) if extra else {}
    beside = {name: record.pop(name) for name in ("captions", "reencoded_from") if name in record}
    fields = {**from_corpus, **record, **beside}
    for suffix, data in (
        (image_extension(image), image),
        ("txt", (record["caption"] or "").encode()),
        ("json", json.dumps(fields, indent=4).encode()),
        *([("cls", str(record["class_id"]).encode())] if with_class else []),
    ):
        member = tarfile.TarInfo(f"{record['key']}.{suffix}")
        member.size = len(data)
        member.mode = 0o644
        tar.addfile(member, io.BytesIO(data))
