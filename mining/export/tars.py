"""Image sets as webdataset tars with all their images inside, so that training never touches the sources.

    00000.tar            000000000.0.jpg, 000000000.1.jpg (the original bytes), 000000000.json
    00000_stats.json     written after the tar: where each set is, the counts, the skipped sets with their reasons
    index.parquet        INDEX_SCHEMA, a row a set: what `torch_stream_tars` needs to know without reading the tars
    rejects.parquet      all skipped sets: set_id, position and ref of the member, reason
    manifest.json        written last: version of the format, counts, sources

A sample is named by the number of its set in the export. webdataset takes a file's name up to its first dot as the
sample's key, so a set is one sample with "0.jpg", "1.jpg", ... and "json": docs/image-sets.schema.json with the set's
annotations, and `images`, which lists those names in order. Times and owners in the tars are 0, so the same sets give
the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index.corpus.image_decoding import image_extension
from index.errors import BadInput, ImagesNotLocal, OutputExists
from index.files import atomic_file, exists, hash_json, join, read_bytes, remove, write_atomic
from index.outputs import claim_folder, unused_claim_released
from mining.export.member_images import MemberImages
from mining.export.read_sets import read_sets
from mining.export.skipped import NAMED, REJECTED, OnSkipped, SetsExport, SkippedSet
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from mining.sets.sources import Folder, Moved

__all__ = ["FORMAT", "INDEX_SCHEMA", "VERSION", "to_webdataset"]

CLAIM = "export.json"
FORMAT = "clipmine-image-set-tars"
VERSION = 2

# Sets are numbered in the order of their rows; offset, bytes: the set's files in the tar, with their headers.
# conversations: the set's annotations that have turns, in the order in which the json has them. replaces: who wrote
# what this one replaces, as the model whose annotation a person corrected.
_CONVERSATION = pa.struct([("kind", pa.string()), ("annotator", pa.string()), ("replaces", pa.list_(pa.string()))])
INDEX_SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("set_id", pa.string()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("conversations", pa.list_(_CONVERSATION)),
    ]
)
_REJECTS_SCHEMA = pa.schema(
    [("set_id", pa.string()), ("position", pa.int32()), ("ref", pa.string()), ("reason", pa.string())]
)


def to_webdataset(
    sets: ImageSets,
    out: Folder,
    *,
    kind: str | Sequence[str] | None = None,
    annotator: str | Sequence[str] | None = None,
    sets_per_shard: int = 1_000,
    moved: Moved = None,
    rejected: bool = False,
    on_skipped: OnSkipped | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SetsExport:
    """Write `sets` to the folder `out`; after an interruption the same call goes on after the last finished shard.

    kind, annotator: the annotations that are written, as `ImageSets.with_annotations` takes them; by default those of a
    view that has chosen some, else all. sets_per_shard: 1,000 pairs of photographs of 100 kB are 200 MB. moved: where
    the images' sources are now: see MemberImages. rejected: also the sets that a person rejected. on_skipped: called
    with each skipped set once all shards are written. on_progress(done, total): called after each shard, in sets. A set
    without such an annotation is written with its images. One with an image that can't be read is skipped, and counted
    in the result. Raises BadInput where there are no sets, ImagesNotLocal where none has all its images, OutputExists
    where the folder holds another export.
    """
    target = os.fspath(out)
    if sets_per_shard < 1:
        raise BadInput(f"sets per shard {sets_per_shard}: must be at least 1")
    kept = sets if rejected else sets.kept()
    if not len(kept):
        raise BadInput(f"{sets.path}: there are no sets to export; loosen the filters")
    places, annotations = kept.chosen_annotations(kind, annotator).places(kept.numbers)
    with unused_claim_released(target, CLAIM):
        if _claimed(target, _job(kept, annotations, sets_per_shard)):
            return _summary(target, json.loads(read_bytes(join(target, "manifest.json"))))
        images = MemberImages(sets, moved)
        earlier = kept.annotations.earlier_annotators()
        stats = []
        for number, first in enumerate(range(0, len(kept), sets_per_shard)):
            last = min(first + sets_per_shard, len(kept))
            begin, end = np.searchsorted(places, [first, last])
            own = _Annotated(kept, first, last, places[begin:end], annotations[begin:end], earlier)
            stats.append(_write_shard(images, own, target, number))
            if on_progress is not None:
                on_progress(last, len(kept))
        return _finish(sets, len(sets) - len(kept), target, stats, on_skipped)


class _Annotated:
    """The sets first .. last - 1 of a view, with their annotations."""

    def __init__(
        self, sets: ImageSets, first: int, last: int, places: Any, annotations: Any, earlier: dict[int, list[str]]
    ) -> None:
        """places, annotations: as `Attached.places` gives them. earlier: `Annotations.earlier_annotators`."""
        self.first, self.last = first, last
        self._sets, self._places, self._annotations, self._earlier = sets, places, annotations, earlier

    def conversations(self, place: int, each: ImageSet) -> list[dict[str, Any]]:
        """`conversations` of INDEX_SCHEMA for the set `each` at `place`."""
        begin, end = np.searchsorted(self._places, [place, place + 1])
        return [
            {"kind": said.kind, "annotator": said.annotator.name, "replaces": self._earlier.get(number, [])}
            for number, said in zip(self._annotations[begin:end].tolist(), each.annotations, strict=True)
            if said.turns
        ]

    def __iter__(self) -> Iterator[ImageSet]:
        found = self._sets.annotations.read(self._annotations)
        firsts = np.searchsorted(self._places, np.arange(self.first, self.last + 1)).tolist()
        for place, each in enumerate(self._sets[self.first : self.last]):
            yield replace(each, annotations=tuple(found[firsts[place] : firsts[place + 1]]))


def _write_shard(images: MemberImages, sets: _Annotated, out: str, number: int) -> dict[str, Any]:
    """Write one shard and return its stats; those of a finished shard are read."""
    stats_path = join(out, f"{number:05d}_stats.json")
    if exists(stats_path):
        done: dict[str, Any] = json.loads(read_bytes(stats_path))
        return done
    skipped: list[SkippedSet] = []
    written: list[dict[str, Any]] = []
    coming = iter(enumerate(read_sets(images, sets), sets.first))
    with (
        atomic_file(join(out, f"{number:05d}.tar")) as partial,
        tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for place, found in coming:
            if isinstance(found, SkippedSet):
                skipped.append(found)
                continue
            each, files = found
            begin = tar.offset
            names = [f"{position}.{image_extension(data)}" for position, data in enumerate(files)]
            for name, data in zip(names, files, strict=True):
                _add(tar, f"{place:09d}.{name}", data)
            fields = {**each.to_json(), "images": names}
            _add(tar, f"{place:09d}.json", json.dumps(fields, ensure_ascii=False, indent=1).encode())
            written.append(
                {
                    "number": place,
                    "set_id": each.set_id,
                    "shard": number,
                    "offset": begin,
                    "bytes": tar.offset - begin,
                    "conversations": sets.conversations(place, each),
                }
            )
    stats = {
        "asked": sets.last - sets.first,
        "written": len(written),
        "skipped": [asdict(each) for each in skipped],
        "sets": written,
    }
    write_atomic(stats_path, json.dumps(stats) + "\n")
    return stats


def _claimed(out: str, job: dict[str, Any]) -> bool:
    """Claim the folder; whether the same export is finished there. Raises OutputExists where it holds another one."""
    try:
        return claim_folder(out, CLAIM, job)
    except OutputExists as error:
        if "another configuration" not in str(error):
            raise
        raise OutputExists(
            f"{out}: holds an export of other sets or with other arguments; rejecting, correcting or annotating sets "
            "since then counts too. Export into a new folder, or delete this one"
        ) from error


def _finish(
    sets: ImageSets, rejected: int, out: str, stats: list[dict[str, Any]], on_skipped: OnSkipped | None
) -> SetsExport:
    rejects = [SkippedSet(**each) for shard in stats for each in shard["skipped"]]
    if on_skipped is not None:
        for each in rejects:
            on_skipped(each)
    asked = sum(shard["asked"] for shard in stats)
    written = sum(shard["written"] for shard in stats)
    if not written:
        for number in range(len(stats)):
            for ending in ("_stats.json", ".tar"):
                remove(join(out, f"{number:05d}{ending}"))
        raise ImagesNotLocal(
            f"{sets.path}: of none of its {asked} sets all images could be read ({rejects[0]}, ...); put the images "
            "back where their source expects them, and export again"
        )
    index = [each for shard in stats for each in shard["sets"]]
    tables = {
        "rejects.parquet": pa.Table.from_pylist([asdict(each) for each in rejects], _REJECTS_SCHEMA),
        "index.parquet": pa.Table.from_pylist(index, INDEX_SCHEMA),
    }
    for name, table in tables.items():
        with atomic_file(join(out, name)) as partial:
            pq.write_table(table, partial)
    reasons = Counter(each.reason for each in rejects)
    if rejected:
        reasons[REJECTED] += rejected
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "asked": asked + rejected,
        "written": written,
        "skipped": dict(sorted(reasons.items())),
        "named": [str(each) for each in rejects[:NAMED]],
        "shards": len(stats),
        "sources": _sources(sets),
    }
    write_atomic(join(out, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
    return _summary(out, manifest)


def _summary(out: str, manifest: dict[str, Any]) -> SetsExport:
    return SetsExport(out, manifest["asked"], manifest["written"], manifest["skipped"], manifest["named"])


def _sources(sets: ImageSets) -> dict[str, Any]:
    """Where the images came from, by name; the places of the folders may change and are left out."""
    return {
        name: {key: value for key, value in source.to_json().items() if key not in ("path", "relative")}
        for name, source in sorted(sets.sources.items())
    }


def _job(sets: ImageSets, annotations: Any, sets_per_shard: int) -> dict[str, Any]:
    """What decides the bytes of the export; the places of the sets and of their sources do not."""
    mined = {key: value for key, value in sets.manifest.items() if key not in ("sources", "store")}
    chosen = hashlib.sha256(sets.numbers.astype("<i8").tobytes()).hexdigest()
    said = sets.annotations.columns(["annotation_id"]).take(pa.array(annotations))["annotation_id"].to_pylist()
    return {
        "version": VERSION,
        "sets": {**mined, "sources": _sources(sets)},
        "chosen": chosen,
        "annotations": hash_json(said),
        "sets_per_shard": sets_per_shard,
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))
