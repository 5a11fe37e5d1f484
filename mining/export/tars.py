"""Image sets as webdataset tars with all their images inside, so that training never touches the corpus.

    00000.tar            12_345.0.jpg, 12_345.1.jpg (the original bytes), 12_345.json (docs/image-sets.schema.json)
    00000_stats.json     written after the tar: the counts of sets, and the skipped sets with their reasons
    rejects.parquet      all skipped sets: set_id, row_id, reason
    manifest.json        written last: counts

webdataset takes a file's name up to its first dot as the sample's key, so a set is one sample with "0.jpg", "1.jpg",
... and "json", whose `images` lists those names in order. Times and owners in the tars are 0, so the same sets give the
same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from index.corpus.image_decoding import image_extension
from index.errors import BadInput, ImagesNotLocal
from index.files import atomic_file, exists, join, read_bytes, write_atomic
from index.outputs import claim_folder
from index.store.embedding_store import EmbeddingStore
from mining.export.member_images import with_images
from mining.export.skipped import NAMED, SetsExport, SkippedSet
from mining.sets.image_sets import ImageSets

__all__ = ["to_webdataset"]

Folder = str | os.PathLike[str]
_REJECTS_SCHEMA = pa.schema([("set_id", pa.string()), ("row_id", pa.int64()), ("reason", pa.string())])


def to_webdataset(
    sets: ImageSets,
    out: Folder,
    *,
    sets_per_shard: int = 1_000,
    store: Folder | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SetsExport:
    """Write `sets` to the folder `out`; after an interruption the same call goes on after the last finished shard.

    sets_per_shard: 1,000 pairs of photographs of 100 kB are 200 MB. store: where the store is now, if it was moved.
    on_progress(done, total): called after each shard, in sets. A set with an image that can't be read is skipped, and
    counted in the result. Raises BadInput where there are no sets, ImagesNotLocal where none has all its images,
    OutputExists where the folder holds another export.
    """
    target = os.fspath(out)
    if sets_per_shard < 1:
        raise BadInput(f"sets per shard {sets_per_shard}: must be at least 1")
    if not len(sets):
        raise BadInput(f"{sets.path}: there are no sets to export; loosen the filters")
    if claim_folder(target, "export.json", _job(sets, sets_per_shard)):
        return _summary(target, json.loads(read_bytes(join(target, "manifest.json"))))
    opened = sets.store(store)
    shards = range(0, len(sets), sets_per_shard)
    stats = []
    for number, first in enumerate(shards):
        stats.append(_write_shard(opened, sets[first : first + sets_per_shard], target, number))
        if on_progress is not None:
            on_progress(min(first + sets_per_shard, len(sets)), len(sets))
    return _finish(sets, target, stats)


def _write_shard(store: EmbeddingStore, sets: ImageSets, out: str, number: int) -> dict[str, Any]:
    """Write one shard and return its stats; those of a finished shard are read."""
    stats_path = join(out, f"{number:05d}_stats.json")
    if exists(stats_path):
        done: dict[str, Any] = json.loads(read_bytes(stats_path))
        return done
    skipped: list[SkippedSet] = []
    written = 0
    with (
        atomic_file(join(out, f"{number:05d}.tar")) as partial,
        # GNU tar, for long names: the id of a set of twenty images has more than the 100 characters of plain tar.
        tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for each, files in with_images(store, sets, skipped.append):
            names = [f"{place}.{image_extension(data)}" for place, data in enumerate(files)]
            for name, data in zip(names, files, strict=True):
                _add(tar, f"{each.set_id}.{name}", data)
            fields = {**each.to_json(), "images": names}
            _add(tar, f"{each.set_id}.json", json.dumps(fields, ensure_ascii=False, indent=1).encode())
            written += 1
    stats = {"asked": len(sets), "written": written, "left_out": [asdict(each) for each in skipped]}
    write_atomic(stats_path, json.dumps(stats, indent=1) + "\n")
    return stats


def _finish(sets: ImageSets, out: str, stats: list[dict[str, Any]]) -> SetsExport:
    rejects = [SkippedSet(**each) for shard in stats for each in shard["left_out"]]
    written = sum(shard["written"] for shard in stats)
    if not written:
        raise ImagesNotLocal(
            f"{sets.path}: of none of its {len(sets)} sets all images could be read ({rejects[0]}, ...); put the "
            f"corpus back where the store expects it, delete {out}, and export again"
        )
    with atomic_file(join(out, "rejects.parquet")) as partial:
        pq.write_table(pa.Table.from_pylist([asdict(each) for each in rejects], _REJECTS_SCHEMA), partial)
    reasons: dict[str, int] = {}
    for each in rejects:
        reasons[each.reason] = reasons.get(each.reason, 0) + 1
    manifest = {
        "format": "clipmine-image-set-tars",
        "asked": sum(shard["asked"] for shard in stats),
        "written": written,
        "left_out": dict(sorted(reasons.items())),
        "named": [str(each) for each in rejects[:NAMED]],
        "shards": len(stats),
    }
    write_atomic(join(out, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
    return _summary(out, manifest)


def _summary(out: str, manifest: dict[str, Any]) -> SetsExport:
    return SetsExport(out, manifest["asked"], manifest["written"], manifest["left_out"], manifest["named"])


def _job(sets: ImageSets, sets_per_shard: int) -> dict[str, Any]:
    """What decides the bytes of the export; the places of the sets and their store do not."""
    mined = {**sets.manifest, "store": (sets.manifest.get("store") or {}).get("identity")}
    chosen = hashlib.sha256(sets.numbers.astype("<i8").tobytes()).hexdigest()
    return {"sets": mined, "chosen": chosen, "sets_per_shard": sets_per_shard}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))
