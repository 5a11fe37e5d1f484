"""The annotations of a folder of image sets, in parts that are appended at any time.

    PAIRS/annotations/
      phase-1_0000.parquet     ANNOTATIONS_SCHEMA
      phase-1_0000.json        written after it: rows, kinds and annotators; a part without it does not count
      corrections.jsonl        what people corrected on the page (`mining.sets.corrections`), read as a last part

A part is never changed: who annotates again writes another part, and who corrects an annotation writes a new one whose
`parent` is the old one. The same annotations under the same name are written once, so that a job can be run again.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput, OutputExists
from index.files import exists, hash_json, join, open_file, read_bytes, resolve, write_atomic
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.corrections import read_corrections

__all__ = ["ANNOTATIONS_SCHEMA", "Annotations", "annotations_table", "append_annotations"]

Numbers = npt.NDArray[np.int64]

FOLDER = "annotations"
_PART = pa.struct([("text", pa.string()), ("image", pa.int32())])
ANNOTATIONS_SCHEMA = pa.schema(
    [
        ("annotation_id", pa.string()),  # unique in the folder
        ("set_id", pa.string()),
        ("kind", pa.string()),
        ("annotator", pa.string()),  # a model, a person or a tool
        ("annotator_version", pa.string()),
        ("prompt_hash", pa.string()),
        ("parameters", pa.string()),  # a JSON object
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("parts", pa.list_(_PART))]))),
        ("content", pa.string()),  # a JSON object
        ("parent", pa.string()),  # the annotation that this one replaces
    ]
)
# Annotations a row group, and row groups kept decoded: 0.5 MB each for answers of 300 words.
_GROUP = 250
_KEPT_GROUPS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def append_annotations(path: str | os.PathLike[str], annotations: Iterable[Annotation], part: str) -> int:
    """Write a part of annotations into the folder of image sets `path`; returns their number.

    part: its name; letters, digits, `.`, `_` and `-`. Nothing is written where a finished part has that name and the
    same annotations. The set ids are not checked (`ImageSets.add_annotations` does). Raises BadInput for a name that
    cannot be a file's, OutputExists where the name's part has other annotations.
    """
    if not _NAME.fullmatch(part):
        raise BadInput(f"annotations {part!r:.120}: a part's name has letters, digits, '.', '_' and '-', up to 100")
    rows = list(annotations)
    digest = hash_json([_row(each) for each in rows])
    table_file, marker = (join(path, FOLDER, f"{part}.{kind}") for kind in ("parquet", "json"))
    if exists(marker):
        if json.loads(read_bytes(marker)).get("hash") != digest:
            raise OutputExists(f"{marker}: a part of this name has other annotations; choose another name")
        return len(rows)
    buffer = io.BytesIO()
    pq.write_table(annotations_table(rows), buffer, row_group_size=_GROUP, compression="zstd")
    write_atomic(table_file, buffer.getvalue())
    counts = Counter((each.kind, each.annotator.name) for each in rows)
    said = [{"kind": kind, "annotator": name, "count": count} for (kind, name), count in sorted(counts.items())]
    write_atomic(marker, json.dumps({"rows": len(rows), "hash": digest, "counts": said}, indent=1) + "\n")
    return len(rows)


def annotations_table(annotations: Sequence[Annotation]) -> pa.Table:
    """ANNOTATIONS_SCHEMA for these annotations, in order."""
    return pa.Table.from_pylist([_row(each) for each in annotations], ANNOTATIONS_SCHEMA)


class Annotations:
    """The annotations of a folder, by set. `open` lists the parts; `index` reads who said what of which set.

    Parts that are written later are seen after `open` again.
    """

    def __init__(
        self, path: str, parts: Sequence[tuple[str, dict[str, Any]]], corrections: Sequence[Annotation] = ()
    ) -> None:
        """parts: (name, its marker), sorted by name. corrections: those of `corrections.jsonl`, numbered after them."""
        self.path, self.parts, self.corrections = path, tuple(parts), tuple(corrections)
        self._kept: OrderedDict[tuple[int, int], list[Annotation]] = OrderedDict()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Annotations:
        """List the finished parts of a folder of image sets. Raises BadInput where a marker is damaged."""
        system, folder = resolve(join(path, FOLDER))
        names = system.ls(folder, detail=False) if system.isdir(folder) else []
        markers = sorted(str(name).rstrip("/").rpartition("/")[2] for name in names if str(name).endswith(".json"))
        parts = []
        for marker in markers:
            name = join(path, FOLDER, marker)
            try:
                said = json.loads(read_bytes(name))
                said["counts"], said["rows"]
            except (ValueError, KeyError, TypeError) as error:
                raise BadInput(
                    f"{name}: is damaged ({error}); delete it and its .parquet, and annotate again"
                ) from error
            parts.append((marker.removesuffix(".json"), said))
        return cls(os.fspath(path), parts, read_corrections(path))

    def __len__(self) -> int:
        return sum(int(said["rows"]) for _, said in self.parts) + len(self.corrections)

    def counts(self) -> dict[tuple[str, str], int]:
        """(kind, annotator) -> number of annotations, sorted; from the markers and the corrections."""
        found = Counter((each.kind, each.annotator.name) for each in self.corrections)
        for _, said in self.parts:
            for each in said["counts"]:
                found[each["kind"], each["annotator"]] += int(each["count"])
        return dict(sorted(found.items()))

    def index(
        self,
        set_ids: pa.Array | pa.ChunkedArray,
        kinds: Sequence[str] = (),
        annotators: Sequence[str] = (),
        replaced: bool = False,
    ) -> tuple[Numbers, Numbers]:
        """(set int64 [m] ascending, annotation int64 [m]): the annotations of each set, in the order of writing.

        set_ids: of all sets of the folder; a set is its place among them. kinds, annotators: only these; () for all.
        replaced: also those that are the parent of another annotation. An annotation is its number over all parts.
        Raises BadInput for an annotation of a set that is not there.
        """
        names = ["set_id", "kind", "annotator", "annotation_id", "parent"]
        tables = [self._read(part, names) for part in range(len(self.parts))]
        table = pa.concat_tables([*tables, annotations_table(self.corrections).select(names)])
        places = pc.index_in(table["set_id"], value_set=_plain(set_ids))
        if places.null_count:
            lost = table.filter(pc.is_null(places))["set_id"][0].as_py()
            raise BadInput(
                f"{join(self.path, FOLDER)}: annotates the set {lost!r:.100}, which is not there; delete that part"
            )
        good = np.ones(table.num_rows, np.bool_)
        for name, wanted in (("kind", kinds), ("annotator", annotators)):
            if wanted:
                good &= np.asarray(pc.is_in(table[name], pa.array(wanted, pa.string()))).astype(np.bool_)
        if not replaced:
            parents = pc.drop_null(table["parent"]).unique()
            good &= ~np.asarray(pc.is_in(table["annotation_id"], parents)).astype(np.bool_)
        chosen = np.flatnonzero(good)
        numbers = np.asarray(places.combine_chunks() if isinstance(places, pa.ChunkedArray) else places)
        numbers = numbers.astype(np.int64)[chosen]
        order = np.argsort(numbers, kind="stable")
        return numbers[order], chosen[order].astype(np.int64)

    def read(self, numbers: Sequence[int]) -> list[Annotation]:
        """The annotations of these numbers, in order."""
        firsts = np.cumsum([0, *(int(said["rows"]) for _, said in self.parts)])
        found = []
        for number in numbers:
            part = int(np.searchsorted(firsts, number, side="right")) - 1
            place = int(number - firsts[part])
            is_correction = part == len(self.parts)
            found.append(
                self.corrections[place] if is_correction else self._group(part, place // _GROUP)[place % _GROUP]
            )
        return found

    def __reduce__(self) -> Any:
        return Annotations, (self.path, self.parts, self.corrections)

    def _group(self, part: int, group: int) -> list[Annotation]:
        found = self._kept.get((part, group))
        if found is None:
            found = [_annotation(row) for row in self._read(part, ANNOTATIONS_SCHEMA.names, group).to_pylist()]
            self._kept[part, group] = found
            while len(self._kept) > _KEPT_GROUPS:
                self._kept.popitem(last=False)
        return found

    def _read(self, part: int, columns: list[str], group: int | None = None) -> pa.Table:
        name = join(self.path, FOLDER, f"{self.parts[part][0]}.parquet")
        try:
            with open_file(name) as stream:
                file = pq.ParquetFile(stream)
                table = file.read(columns) if group is None else file.read_row_group(group, columns)
                rows = file.metadata.num_rows
        except (FileNotFoundError, pa.ArrowInvalid, pa.ArrowKeyError, IndexError) as error:
            raise BadInput(f"{name}: missing or damaged ({str(error).splitlines()[0]}); annotate again") from error
        if rows != self.parts[part][1]["rows"]:
            raise BadInput(f"{name}: has {rows} annotations, its marker says {self.parts[part][1]['rows']}")
        return table.cast(pa.schema([ANNOTATIONS_SCHEMA.field(column) for column in columns]))


def _row(each: Annotation) -> dict[str, Any]:
    return {
        "annotation_id": each.annotation_id,
        "set_id": each.set_id,
        "kind": each.kind,
        "annotator": each.annotator.name,
        "annotator_version": each.annotator.version,
        "prompt_hash": each.annotator.prompt_hash,
        "parameters": _json(each.annotator.parameters),
        "turns": [
            {
                "role": turn.role,
                "parts": [
                    {"text": part, "image": None} if isinstance(part, str) else {"text": None, "image": part}
                    for part in turn.parts
                ],
            }
            for turn in each.turns
        ],
        "content": _json(each.content),
        "parent": each.parent,
    }


def _annotation(row: dict[str, Any]) -> Annotation:
    turns = [
        Turn(turn["role"], tuple(part["text"] if part["image"] is None else part["image"] for part in turn["parts"]))
        for turn in row["turns"] or ()
    ]
    parameters = json.loads(row["parameters"]) if row["parameters"] else {}
    annotator = Annotator(row["annotator"], row["annotator_version"], row["prompt_hash"], parameters)
    content = json.loads(row["content"]) if row["content"] else {}
    return Annotation(row["annotation_id"], row["set_id"], row["kind"], annotator, tuple(turns), content, row["parent"])


def _json(value: Any) -> str | None:
    return json.dumps(dict(value), ensure_ascii=False) if value else None


def _plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
