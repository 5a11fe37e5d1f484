"""The annotations of a folder of image sets, in parts that are appended at any time.

    PAIRS/annotations/
      phase-1_0000.parquet     ANNOTATIONS_SCHEMA
      phase-1_0000.json        written after it: rows, kinds and annotators; a part without it does not count
      corrections.jsonl        what people corrected on the page (`mining.sets.corrections`), read as a last part

A part is never changed. Another run writes another part, and a correction is a new annotation of the same kind whose
`parent` is the old one. Jobs may append at the same time, under different names. The same annotations under the same
name are written once, so that a job can be run again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.errors import BadInput, OutputExists
from index.files import exists, hash_json, join, read_bytes, resolve, write_atomic
from mining.sets.annotation import Annotation
from mining.sets.annotation_rows import ANNOTATIONS_SCHEMA, annotation_of, annotation_row, annotations_table
from mining.sets.corrections import corrections_path, read_corrections
from mining.sets.part_files import PartFiles
from mining.sets.recent import Recent

__all__ = [
    "ANNOTATIONS_SCHEMA",
    "Annotations",
    "annotations_table",
    "append_annotations",
    "append_table",
    "distinct_ids",
]

Numbers = npt.NDArray[np.int64]

FOLDER = "annotations"
# Annotations a row group (the marker records it), and row groups kept in memory: 0.2 MB each for answers of 300 words.
# Decoding one takes 0.5 ms.
_GROUP = 100
_KEPT_GROUPS = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def append_annotations(path: str | os.PathLike[str], annotations: Iterable[Annotation], part: str) -> int:
    """Write a part of annotations into the folder of image sets `path`; returns their number.

    part: its name; letters, digits, `.`, `_` and `-`. Nothing is written where a finished part has that name and the
    same annotations. Two equal annotations get different ids (`distinct_ids`). The set ids are not checked
    (`ImageSets.add_annotations` does). Raises BadInput for a name that cannot be a file's, OutputExists where the
    name's part has other annotations.
    """
    said = distinct_ids(annotations)
    digest = hashlib.sha256()
    for each in said:
        digest.update(hash_json(annotation_row(each)).encode())
    return append_table(path, annotations_table(said), part, digest.hexdigest())


def append_table(path: str | os.PathLike[str], table: pa.Table, part: str, digest: str) -> int:
    """`append_annotations` for a table of ANNOTATIONS_SCHEMA.

    digest: a hash of the annotations, by which a finished part of the same name is recognised or refused.
    """
    if not _NAME.fullmatch(part):
        raise BadInput(f"annotations {part!r:.120}: a part's name has letters, digits, '.', '_' and '-', up to 100")
    table_file, marker = (join(path, FOLDER, f"{part}.{kind}") for kind in ("parquet", "json"))
    if exists(marker):
        if _marker(marker).get("hash") != digest:
            raise OutputExists(f"{marker}: a part of this name has other annotations; choose another name")
        return len(table)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=_GROUP, compression="zstd")
    write_atomic(table_file, buffer.getvalue())
    counts = table.group_by(["kind", "annotator"], use_threads=False).aggregate([([], "count_all")]).to_pylist()
    said = sorted(
        ({"kind": each["kind"], "annotator": each["annotator"], "count": each["count_all"]} for each in counts),
        key=lambda each: (each["kind"], each["annotator"]),
    )
    described = {"rows": table.num_rows, "group_rows": _GROUP, "hash": digest, "counts": said}
    write_atomic(marker, json.dumps(described, indent=1) + "\n")
    return len(table)


def distinct_ids(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The annotations, in order; where two have one id, the second gets `-2` at its end, a third `-3`, and so on.

    Two records of a collection may hold the same annotation of the same set.
    """
    seen: Counter[str] = Counter()
    found = []
    for each in annotations:
        seen[each.annotation_id] += 1
        count = seen[each.annotation_id]
        found.append(each if count == 1 else replace(each, annotation_id=f"{each.annotation_id}-{count}"))
    return found


class Annotations:
    """The annotations of a folder, by set. `open` lists the parts; `index` reads who said what of which set.

    Parts that are written later are seen after `open` again. Safe for threads; pickled without what it keeps decoded.
    """

    def __init__(
        self, path: str, parts: Sequence[tuple[str, dict[str, Any]]], corrections: Sequence[Annotation] = ()
    ) -> None:
        """parts: (name, its marker), sorted by name. corrections: those of `corrections.jsonl`, numbered after them."""
        self.path, self.parts, self.corrections = path, tuple(parts), tuple(corrections)
        self._firsts = np.cumsum([0, *(int(said["rows"]) for _, said in self.parts)])
        self._files = PartFiles(join(path, FOLDER), "delete that part (.parquet and .json) and annotate again")
        self._kept = Recent[tuple[int, int], pa.Table](_KEPT_GROUPS)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Annotations:
        """List the finished parts of a folder of image sets. Raises BadInput where a marker is damaged."""
        system, folder = resolve(join(path, FOLDER))
        system.invalidate_cache()  # object stores keep listings, and another job may have appended
        names = system.ls(folder, detail=False) if system.isdir(folder) else []
        markers = sorted(str(name).rstrip("/").rpartition("/")[2] for name in names if str(name).endswith(".json"))
        shown = [marker for marker in markers if not marker.startswith(".")]
        parts = [(marker.removesuffix(".json"), _marker(join(path, FOLDER, marker))) for marker in shown]
        return cls(os.fspath(path), parts, read_corrections(path))

    def __len__(self) -> int:
        return int(self._firsts[-1]) + len(self.corrections)

    def __reduce__(self) -> Any:
        return Annotations, (self.path, self.parts, self.corrections)

    def counts(self) -> dict[tuple[str, str], int]:
        """(kind, annotator) -> number of annotations, sorted; as written, so one that is in two parts counts twice."""
        found = Counter((each.kind, each.annotator.name) for each in self.corrections)
        for _, said in self.parts:
            for each in said["counts"]:
                found[each["kind"], each["annotator"]] += int(each["count"])
        return dict(sorted(found.items()))

    def check(self, kinds: Sequence[str], annotators: Sequence[str]) -> None:
        """Raise BadInput for a kind or an annotator that no annotation has."""
        known = self.counts()
        for what, asked, place in (("kind", kinds, 0), ("annotator", annotators, 1)):
            there = sorted({key[place] for key in known})
            for name in asked:
                if name not in there:
                    listed = ", ".join(there) or "none"
                    raise BadInput(f"{self.path}: has no annotations of {what} {name!r:.100}; it has {listed}")

    def index(
        self,
        set_ids: pa.Array,
        kinds: Sequence[str] = (),
        annotators: Sequence[str] = (),
        replaced: bool = False,
    ) -> tuple[Numbers, Numbers]:
        """(set int64 [m] ascending, annotation int64 [m]): the annotations of each set, by part and the order in it.

        set_ids: of all sets of the folder; a set is its place among them. kinds, annotators: only these; () for all.
        An annotation counts as one by an annotator if it, or one that it replaces, directly or through others, is by
        that annotator. replaced: also those that are the parent of another annotation of their kind. An annotation is
        its number over all parts; one that is in two parts is given once. Raises BadInput for an annotation of a set
        that is not there.
        """
        # A column at a time: all of them at once are half a gigabyte for a million annotations.
        asked = self._column("set_id")
        places = pc.index_in(asked, value_set=set_ids)
        if places.null_count:
            number = int(np.flatnonzero(np.asarray(places.is_null()))[0])
            raise BadInput(
                f"{self._file_of(number)}: annotates the set {asked[number].as_py()!r:.100}, which is not among these "
                "image sets; delete that part (.parquet and .json), or that line"
            )
        numbers = places.to_numpy().astype(np.int64)
        del asked, places
        good = self._first_of_each_id()
        if kinds:
            good &= self._has("kind", kinds)
        if annotators or not replaced:
            newer, older = self._replacements()
            if annotators:
                good &= _handed_on(self._has("annotator", annotators), newer, older)
            if not replaced:
                good[older] = False
        chosen = np.flatnonzero(good)
        numbers = numbers[chosen]
        order = np.argsort(numbers, kind="stable")
        return numbers[order], chosen[order].astype(np.int64)

    def _first_of_each_id(self) -> npt.NDArray[np.bool_]:
        codes = self._column("annotation_id").dictionary_encode().indices.to_numpy()
        before = np.maximum.accumulate(np.concatenate([[-1], codes]))[:-1]
        return np.asarray(codes > before)  # codes are given in the order of first appearance

    def _has(self, column: str, values: Sequence[str]) -> npt.NDArray[np.bool_]:
        return np.asarray(pc.is_in(self._column(column), pa.array(values, pa.string()))).astype(np.bool_)

    def _replacements(self) -> tuple[Numbers, Numbers]:
        """(newer int64 [m] ascending, older int64 [m]): each annotation that replaces one of its kind, and that one."""
        parents = self._column("parent")
        newer = np.flatnonzero(np.asarray(parents.is_valid()))
        if not len(newer):
            return newer, newer
        kinds = self._column("kind")
        asked = pc.binary_join_element_wise(kinds.take(pa.array(newer)), parents.take(pa.array(newer)), " ")
        own = pc.binary_join_element_wise(kinds, self._column("annotation_id"), " ")
        named = np.flatnonzero(np.asarray(pc.is_in(own, asked)))
        places = pc.index_in(asked, own.take(pa.array(named)))
        there = np.asarray(places.is_valid())
        return newer[there], named[places.drop_null().to_numpy()]

    def earlier_annotators(self) -> dict[int, list[str]]:
        """The annotators of what an annotation replaces, directly or through others, the newest first.

        By the annotation's number; only of those that replace one.
        """
        newer, older = (each.tolist() for each in self._replacements())
        parents = dict(zip(newer, older, strict=True))
        names = dict(zip(older, self._column("annotator").take(pa.array(older, pa.int64())).to_pylist(), strict=True))
        found = {}
        for number in newer:
            chain: list[int] = []
            each = number
            while parents.get(each, number) not in (number, *chain):  # a file may name two that replace each other
                each = parents[each]
                chain.append(each)
            found[number] = [names[each] for each in chain]
        return found

    def _column(self, name: str) -> pa.Array:
        return self.columns([name])[name].combine_chunks()

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some of ANNOTATIONS_SCHEMA's columns of all parts."""
        tables = [self._read(part, names) for part in range(len(self.parts))]
        return pa.concat_tables([*tables, annotations_table(self.corrections).select(list(names))])

    def turn_counts(self) -> Numbers:
        """int64 [n]: the turns of every annotation, by its number; the texts are not read."""
        counts = [np.zeros(0, np.int64)]
        for name, _ in self.parts:
            turns = self._files.read(f"{name}.parquet", ["turns.list.element.role"])["turns"]
            counts.append(pc.fill_null(pc.list_value_length(turns), 0).to_numpy().astype(np.int64))
        counts.append(np.array([len(each.turns) for each in self.corrections], np.int64))
        return np.concatenate(counts)

    def tables(self, part: int) -> Iterator[pa.Table]:
        """Yield a part's annotations as ANNOTATIONS_SCHEMA, a row group at a time. Raises BadInput where it has others
        than its marker says."""
        name, said = self.parts[part]
        self._check_rows(name, self._files.rows(f"{name}.parquet"), said["rows"])
        for group in range(self._files.row_groups(f"{name}.parquet")):
            yield self._read(part, ANNOTATIONS_SCHEMA.names, group)

    def read(self, numbers: Numbers | Sequence[int]) -> list[Annotation]:
        """The annotations of these numbers, in order. Those of one row group are decoded together."""
        wanted = np.asarray(numbers, np.int64)
        parts = np.searchsorted(self._firsts, wanted, side="right") - 1
        rows = np.array([*(said["group_rows"] for _, said in self.parts), len(self.corrections) + 1], np.int64)
        groups, places = np.divmod(wanted - self._firsts[parts], rows[parts])
        order = np.lexsort((groups, parts))
        changes = (np.diff(parts[order]) != 0) | (np.diff(groups[order]) != 0)
        found: dict[int, Annotation] = {}
        for run in np.split(order, np.flatnonzero(changes) + 1):
            if len(run) and parts[run[0]] == len(self.parts):
                found.update((place, self.corrections[places[place]]) for place in run.tolist())
            elif len(run):
                table = self._group(int(parts[run[0]]), int(groups[run[0]])).take(pa.array(places[run]))
                found.update(zip(run.tolist(), map(annotation_of, table.to_pylist()), strict=True))
        return [found[place] for place in range(len(wanted))]

    def _file_of(self, number: int) -> str:
        part = int(np.searchsorted(self._firsts, number, side="right")) - 1
        if part == len(self.parts):
            return corrections_path(self.path)
        return join(self.path, FOLDER, f"{self.parts[part][0]}.parquet")

    def _group(self, part: int, group: int) -> pa.Table:
        return self._kept.get((part, group), lambda: self._read(part, ANNOTATIONS_SCHEMA.names, group))

    def _check_rows(self, name: str, found: int, expected: int, where: str = "") -> None:
        if found != expected:
            raise self._files.damaged(f"{name}.parquet", f"has {found} rows{where}, its marker says {expected}")

    def _read(self, part: int, columns: Sequence[str], group: int | None = None) -> pa.Table:
        name, said = self.parts[part]
        table = self._files.read(f"{name}.parquet", columns, group)
        if group is None:
            self._check_rows(name, table.num_rows, said["rows"])
        else:
            own = min(said["group_rows"], said["rows"] - group * said["group_rows"])
            self._check_rows(name, table.num_rows, own, f" in row group {group}")
        return table.select(list(columns)).cast(pa.schema([ANNOTATIONS_SCHEMA.field(column) for column in columns]))


def _handed_on(marked: npt.NDArray[np.bool_], newer: Numbers, older: Numbers) -> npt.NDArray[np.bool_]:
    """The marked annotations, and those that replace a marked one, directly or through others."""
    count = -1
    while count != (count := int(marked.sum())):
        marked[newer[marked[older]]] = True
    return marked


def _marker(path: str) -> dict[str, Any]:
    """A part's marker. Raises BadInput where it is damaged."""
    try:
        said = json.loads(read_bytes(path))
        counts = [{**each, "count": int(each["count"])} for each in said["counts"]]
        if any(not isinstance(each[name], str) for each in counts for name in ("kind", "annotator")):
            raise ValueError("counts without kind and annotator")
        rows, group_rows = int(said["rows"]), int(said["group_rows"])
        if rows < 0 or group_rows < 1:
            raise ValueError(f"{rows} rows in groups of {group_rows}")
        return {**said, "rows": rows, "group_rows": group_rows, "counts": counts}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(
            f"{path}: is not the marker of a part of annotations ({error!r:.100}); delete it and its .parquet, and "
            "annotate again"
        ) from error
