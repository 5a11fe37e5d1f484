"""One folder of image sets of several: mined stores, imported collections, text alone.

    sets = concat_image_sets(["mined", "cad-inst", "llava"], "all")

Sets keep their order and their ids. Where two folders have a set with the same id and the same images, it is kept
once, with the annotations of both; sets without images are the same if their annotations are. A set with the id of
another one and other images gets an id with `~2` at its end, and its own id goes to `extra["original_set_id"]`.
Annotations, corrections and decisions are copied. Sets with a row that its store has forgotten are not. For each folder
sets = kept + repeated + forgotten, and annotations = kept + repeated + those of forgotten sets. Sets are copied a row
group at a time; memory holds the ids of all sets, about 80 bytes a set, and the ids of the annotations of sets that
come twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from index.files import exists, hash_json, is_local, join, local_path, read_bytes, remove, write_atomic
from index.outputs import claim_folder, only_writer, remove_folder
from mining.sets.annotations import Annotations, annotations_table, append_table
from mining.sets.decisions import renamed_decisions
from mining.sets.image_sets import DECISIONS, ImageSets
from mining.sets.joined_sources import join_sources
from mining.sets.layouts import MEMBERS_SCHEMA, SETS_SCHEMA, Layout, read_layout
from mining.sets.same_image import MEMBER_NAME, own_names
from mining.sets.write_sets import PART_SETS, ImageSetsWriter

__all__ = ["ConcatInput", "concat_image_sets"]

CLAIM = "concat.json"
ORIGINAL = "original_set_id"
# Annotations whose sets are looked up at a time; each time a table of all set ids is made, 50 ms for a million sets.
_MAPPED = 10_000

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ConcatInput:
    """What became of one folder: sets = kept + repeated + forgotten, and annotations likewise.

    renamed: kept sets with a new id. decisions: lines copied. sources: its sources' names -> those of the new folder.
    """

    path: str
    sets: int
    kept: int
    repeated: int
    renamed: int
    annotations: int
    annotations_kept: int
    annotations_repeated: int
    decisions: int
    sources: dict[str, str] = field(default_factory=dict)
    forgotten: int = 0
    annotations_forgotten: int = 0


@dataclass
class _Plan:
    """What happens to the sets of one folder. repeated [n]: dropped, since an earlier folder has the set.

    shared [n]: another folder has a set of the same id and images. renamed: set number -> the id that it gets. gone
    [n]: dropped, since a row of it was forgotten.
    """

    repeated: Mask
    shared: Mask
    gone: Mask
    renamed: dict[int, str] = field(default_factory=dict)


def concat_image_sets(paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> ImageSets:
    """Write the folders `paths` as one to `out`; `manifest["concat"]` has a ConcatInput for each.

    The same folders give the same bytes. A killed run goes on when it is called again; a finished one is opened.
    Raises BadInput for no folder, `out` among them, or a folder that cannot be read; OutputExists where `out` holds
    anything else, or another process is writing there.
    """
    target = os.fspath(out)
    if not paths:
        raise BadInput("concat: name the folders of image sets to join")
    layouts = [read_layout(path) for path in paths]
    if any(_place(layout.path) == _place(target) for layout in layouts):
        raise BadInput(f"{target}: is one of the folders to join; choose another folder for the result")
    with only_writer(target):
        if claim_folder(target, CLAIM, {"inputs": [_identity(layout) for layout in layouts]}):
            return ImageSets.open(target)
        try:
            return _join(layouts, target)
        except BadInput:  # a mended input is another one, which the claim would refuse
            for folder in ("sets", "members", "annotations"):
                remove_folder(join(target, folder))
            for name in (DECISIONS, CLAIM):
                if exists(join(target, name)):
                    remove(join(target, name))
            raise


def _join(layouts: Sequence[Layout], target: str) -> ImageSets:
    joined = join_sources([(layout.path, layout.sources) for layout in layouts], target)
    plans = _plan(layouts, joined.names)
    writer = ImageSetsWriter(target)
    lines: list[str] = []
    summaries, seen = [], set[str]()
    for number, (layout, plan, names) in enumerate(zip(layouts, plans, joined.names, strict=True)):
        for sets, members in _groups(layout, plan, names):
            writer.add(sets, members)
        said = _copy_annotations(layout, plan, target, number, seen)
        decided = _decisions(layout, plan, names)
        lines += decided
        kept, forgotten = int((~plan.repeated & ~plan.gone).sum()), len(layout.hidden)
        gone = int(plan.gone[layout.annotations.index(layout.set_ids, replaced=True)[0]].sum()) if forgotten else 0
        summaries.append(
            ConcatInput(
                path=layout.path,
                sets=layout.sets,
                kept=kept,
                repeated=layout.sets - kept - forgotten,
                renamed=sum(not plan.repeated[place] and not plan.gone[place] for place in plan.renamed),
                annotations=len(layout.annotations),
                annotations_kept=said,
                annotations_repeated=len(layout.annotations) - said - gone,
                decisions=len(decided),
                sources=dict(names),
                forgotten=forgotten,
                annotations_forgotten=gone,
            )
        )
    if lines:
        write_atomic(join(target, DECISIONS), "".join(f"{line}\n" for line in lines))
    fields = {"concat": [asdict(each) for each in summaries], "notes": list(joined.notes)}
    return writer.finish(joined.sources, fields)


def _place(path: str) -> str:
    return str(local_path(path).resolve()) if is_local(path) else path.rstrip("/")


def _identity(layout: Layout) -> dict[str, Any]:
    """What decides the result: the contents of the folder, but not its path."""
    files = {name: join(layout.path, name) for name in ("manifest.json", DECISIONS)}
    parts = [[name, said.get("hash"), said["rows"]] for name, said in layout.annotations.parts]
    corrections = [each.annotation_id for each in layout.annotations.corrections]
    known = {name: hashlib.sha256(read_bytes(path)).hexdigest() for name, path in files.items() if exists(path)}
    return {**known, "annotations": parts, "corrections": corrections}


def _plan(layouts: Sequence[Layout], names: Sequence[Mapping[str, str]]) -> list[_Plan]:
    """Which sets repeat one of an earlier folder, and which have the id of another set."""
    ids = pa.chunked_array([layout.set_ids for layout in layouts], pa.string()).combine_chunks()
    codes = ids.dictionary_encode().indices.to_numpy().astype(np.int64)
    again = np.bincount(codes, minlength=1)[codes] > 1
    firsts = np.cumsum([0, *(layout.sets for layout in layouts)])
    empty = [np.zeros(layout.sets, np.bool_) for layout in layouts]
    plans = [_Plan(none.copy(), none.copy(), none.copy()) for none in empty]
    for layout, plan in zip(layouts, plans, strict=True):
        plan.gone[layout.hidden] = True
    if not again.any():
        return plans
    # code -> the sets of that id so far: (digest of the images, the id that the set got, folder, number)
    known: dict[int, list[tuple[bytes, str, int, int]]] = {}
    taken = set(ids.filter(pc.match_substring(ids, "~")).to_pylist())
    for folder, (layout, plan, own_sources) in enumerate(zip(layouts, plans, names, strict=True)):
        some = np.flatnonzero(again[firsts[folder] : firsts[folder + 1]])
        for number, digest in zip(some.tolist(), _digests(layout, some, own_sources), strict=True):
            code = int(codes[firsts[folder] + number])
            earlier = known.setdefault(code, [])
            same = next((each for each in earlier if each[0] == digest), None)
            if same is not None:
                plan.repeated[number] = plan.shared[number] = True
                plans[same[2]].shared[same[3]] = True
                if same is not earlier[0]:
                    plan.renamed[number] = same[1]
                continue
            set_id = layout.set_ids[number].as_py()
            if earlier:
                set_id = plan.renamed[number] = _free(set_id, taken)
            earlier.append((digest, set_id, folder, number))
    return plans


def _free(set_id: str, taken: set[str]) -> str:
    """An id that no set has. taken: the ids with a `~`, to which it is added."""
    number = 2
    while (name := f"{set_id}~{number}") in taken:
        number += 1
    taken.add(name)
    return name


def _digests(layout: Layout, numbers: Numbers, names: Mapping[str, str]) -> Iterator[bytes]:
    """A hash of the images of each set, in their order, with the sources' new names. numbers: ascending.

    A set without images is hashed by its extra and its annotations: two collections may number their texts alike.
    """
    texts = iter(_texts(layout, numbers[layout.sizes[numbers] == 0]))
    for part, (first, last) in enumerate(zip(layout.first_sets[:-1], layout.first_sets[1:], strict=True)):
        some = numbers[(numbers >= first) & (numbers < last)]
        if len(some):
            members = layout.member_columns(part, MEMBER_NAME)
            refs = pc.binary_join_element_wise(_renamed_sources(members, names), own_names(members), "/")
            ends = np.cumsum(layout.sizes[first:last])
            for number in (some - first).tolist():
                size = int(layout.sizes[first + number])
                own = refs.slice(int(ends[number]) - size, size).to_pylist() if size else next(texts)
                yield hashlib.blake2b(json.dumps(own).encode(), digest_size=16).digest()


def _texts(layout: Layout, numbers: Numbers) -> list[dict[str, Any]]:
    """What is said of sets without images: strategy, extra and the ids of their annotations. numbers: ascending."""
    if not len(numbers):
        return []
    found = layout.all_sets(["strategy", "extra"]).take(pa.array(numbers)).to_pylist()
    owners, said = layout.annotations.index(layout.set_ids, replaced=True)
    ids = layout.annotations.columns(["annotation_id"])["annotation_id"].take(pa.array(said)).to_pylist()
    bounds = np.searchsorted(owners, [numbers, numbers + 1]).T.tolist()
    return [{**each, "said": sorted(ids[first:last])} for each, (first, last) in zip(found, bounds, strict=True)]


def _groups(layout: Layout, plan: _Plan, names: Mapping[str, str]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield (sets, members) of a folder, a row group at a time, without those that are dropped."""
    for group in range(int(layout.first_groups[-1])):
        read = layout.group(group)
        first = layout.first_of(group)
        keep = ~(plan.repeated | plan.gone)[first : first + read.sets.num_rows]
        owners = np.repeat(np.arange(len(keep)), np.diff(read.starts))
        sets, members = read.sets, read.members
        place = members.column_names.index("source")
        members = members.set_column(place, MEMBERS_SCHEMA.field("source"), _renamed_sources(members, names))
        renamed = {
            number - first: plan.renamed[number] for number in range(first, first + len(keep)) if number in plan.renamed
        }
        if renamed:
            sets, members = _with_new_ids(sets, members, owners, renamed)
        if not keep.all():
            sets, members = sets.filter(pa.array(keep)), members.filter(pa.array(keep[owners]))
        yield sets, members


def _renamed_sources(members: pa.Table, names: Mapping[str, str]) -> pa.Array:
    column = members["source"].combine_chunks()
    places = pc.index_in(column, value_set=pa.array(list(names), pa.string()))
    return pc.coalesce(pa.array(list(names.values()), pa.string()).take(places), column)


def _with_new_ids(
    sets: pa.Table, members: pa.Table, owners: Numbers, renamed: Mapping[int, str]
) -> tuple[pa.Table, pa.Table]:
    ids, extra = sets["set_id"].to_pylist(), sets["extra"].to_pylist()
    for place, set_id in renamed.items():
        known = json.loads(extra[place] or "{}")
        known = known if isinstance(known, dict) else {"value": known}
        extra[place] = json.dumps({**known, ORIGINAL: ids[place]}, ensure_ascii=False)
        ids[place] = set_id
    new = pa.array(ids, pa.string())
    for name, values in (("set_id", new), ("extra", pa.array(extra, pa.string()))):
        sets = sets.set_column(sets.column_names.index(name), SETS_SCHEMA.field(name), values)
    return sets, members.set_column(0, MEMBERS_SCHEMA.field("set_id"), new.take(pa.array(owners)))


def _copy_annotations(layout: Layout, plan: _Plan, out: str, folder: int, seen: set[str]) -> int:
    """Copy a folder's annotations in parts of at most PART_SETS; returns how many were not repeated.

    seen: the ids of annotations of sets that several folders have.
    """
    waiting: list[pa.Table] = []
    written = parts = count = 0

    def write() -> None:
        nonlocal waiting, parts, count
        table = pa.concat_tables(waiting)
        digest = hash_json([table["annotation_id"].to_pylist(), table["set_id"].to_pylist()])
        append_table(out, table, f"from_{folder:03d}_{parts:04d}", digest)
        waiting, parts, count = [], parts + 1, 0

    for table in _annotation_tables(layout.annotations):
        kept = _annotations_of(table, layout, plan, seen)
        waiting.append(kept)
        written, count = written + kept.num_rows, count + kept.num_rows
        if count >= PART_SETS:
            write()
    if count:
        write()
    return written


def _annotation_tables(annotations: Annotations) -> Iterator[pa.Table]:
    """Yield a folder's annotations, corrections last, in tables of about _MAPPED rows."""
    waiting: list[pa.Table] = []
    groups = (table for part in range(len(annotations.parts)) for table in annotations.tables(part))
    for table in chain(groups, [annotations_table(annotations.corrections)]):
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _MAPPED:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _annotations_of(table: pa.Table, layout: Layout, plan: _Plan, seen: set[str]) -> pa.Table:
    """The annotations of one table that the new folder does not have, with its set ids.

    The ids of annotations of renamed sets change with the sets' ids, since the same might be said of both sets.
    """
    places = pc.index_in(table["set_id"], value_set=layout.set_ids).combine_chunks()
    numbers = places.fill_null(-1).to_numpy()
    if places.null_count:
        lost = table["set_id"][int(np.flatnonzero(numbers < 0)[0])].as_py()
        raise BadInput(f"{layout.path}: an annotation is of the set {lost!r:.100}, which is not there; delete its part")
    keep = np.ones(len(numbers), np.bool_)
    columns = {name: table[name].to_pylist() for name in ("annotation_id", "set_id", "parent")}
    for row, number in enumerate(numbers.tolist()):
        if (set_id := plan.renamed.get(number)) is not None:
            columns["set_id"][row] = set_id
            for name in ("annotation_id", "parent"):
                if columns[name][row] is not None:
                    columns[name][row] = hash_json([columns[name][row], set_id])[:24]
        if plan.gone[number]:
            keep[row] = False
        elif plan.shared[number]:
            keep[row] = columns["annotation_id"][row] not in seen
            seen.add(columns["annotation_id"][row])
    for name, values in columns.items():
        field_of = table.schema.field(name)
        table = table.set_column(table.column_names.index(name), field_of, pa.array(values, field_of.type))
    return table if keep.all() else table.filter(pa.array(keep))


def _decisions(layout: Layout, plan: _Plan, names: Mapping[str, str]) -> list[str]:
    path = join(layout.path, DECISIONS)
    if not exists(path):
        return []
    ids = {layout.set_ids[number].as_py(): set_id for number, set_id in plan.renamed.items()}
    stores = {name: source.parts for name, source in layout.sources.items() if source.kind == "store"}
    return renamed_decisions(path, names, ids, stores)
