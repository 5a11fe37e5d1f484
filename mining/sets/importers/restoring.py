"""The records that image sets were imported from, made again from their members, turns and contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from index.errors import BadInput
from index.files import join_inside, read_bytes_range, write_atomic
from mining.sets.annotation import Annotation
from mining.sets.image_set import ImageSet, Member
from mining.sets.image_sets import ImageSets
from mining.sets.importers.formats import Format, get_format
from mining.sets.importers.record_files import records_file, suffix_of
from mining.sets.sources import source_folder

__all__ = ["export_records", "write_records"]


def export_records(sets: ImageSets, format: str | None = None) -> dict[str, list[Any]]:
    """{file name: its records, in their order} of sets that were imported; equal to the records that were imported.

    A correction (an annotation with a parent) takes the place of what it corrects. format: needed where the folder does
    not say it, as after `concat`; all sets must be of that format. The records are held in memory.

    Raises BadInput where the sets were not imported, or lack a record's annotations.
    """
    form = _format(sets, format)
    placed: dict[str, dict[int, Any]] = {}
    for each in sets.with_annotations(replaced=True):
        plain = replace(each, extra=_plain(each.extra))
        for (file, place), (own, record) in _records_of(each).items():
            placed.setdefault(file, {})[place] = form.restore(plain, own, record)
    return {file: [records[place] for place in sorted(records)] for file, records in sorted(placed.items())}


def write_records(sets: ImageSets, path: str, file: str | None = None, format: str | None = None) -> int:
    """Write the records of one imported file to `path`, in the form of its suffix; returns their number.

    file: its name, needed where several were imported. Raises BadInput as `export_records`.
    """
    form = _format(sets, format)
    known = export_records(sets, format)
    if not known:
        raise BadInput(f"{sets.path}: has no imported records")
    if file is None and len(known) != 1:
        listed = ", ".join(known)
        raise BadInput(f"{sets.path}: was imported from {listed}; name one of them, as in file={next(iter(known))!r}")
    name = next(iter(known)) if file is None else file
    if name not in known:
        raise BadInput(f"{sets.path}: was not imported from {name}; it has {', '.join(known)}")
    if form.write is not None:
        files = sets.manifest.get("import", {}).get("files", [])
        header: dict[str, Any] = next((each.get("header", {}) for each in files if each["name"] == name), {})
        write_atomic(path, form.write(header, known[name]))
    else:
        write_atomic(path, records_file(known[name], suffix_of(path)))
    return len(known[name])


def _format(sets: ImageSets, name: str | None) -> Format:
    said = sets.manifest.get("import", {})
    if name is None and "format" not in said:
        raise BadInput(
            f"{sets.path}: does not say in which format the records were (a folder of concat has several); choose the"
            ' sets of one collection and name its format: export_records(sets.filter(strategy=...), format="llava")'
        )
    mapping = tuple((role, column) for role, column in said.get("mapping", ()))
    chosen = name or said["format"]
    return get_format(chosen, mapping if chosen == said.get("format") else (), said.get("kind"), _reader(sets))


def _reader(sets: ImageSets) -> Any:
    def read(member: Member) -> bytes:
        folder = source_folder(sets.sources[member.source], sets.path)
        if folder is None or member.shard is None or member.offset is None or member.bytes is None:
            raise BadInput(f"{sets.path}: the image {member.ref} is in no tar, so its file cannot be given back")
        return read_bytes_range(join_inside(folder, member.shard), member.offset, member.bytes)

    return read


def _records_of(each: ImageSet) -> dict[tuple[str, int], tuple[list[Annotation], Mapping[str, Any]]]:
    """{(file, place): (the annotations of that record, how it was written)} of a set; of its own, where it has none."""
    if "record" in each.extra:
        return {_place(each.extra["record"]): ([], each.extra["record"])}
    found: dict[tuple[str, int], tuple[list[Annotation], Mapping[str, Any]]] = {}
    latest = _latest(each.annotations)
    for annotation in each.annotations:
        record = annotation.content.get("record")
        # An annotation that was made here, by a model or a person, belongs to no record; a correction is in `latest`.
        if annotation.parent is None and isinstance(record, Mapping):
            found.setdefault(_place(record), ([], record))[0].append(latest[annotation.annotation_id])
    return found


def _latest(annotations: Sequence[Annotation]) -> dict[str, Annotation]:
    """{id of an annotation without a parent: it, with the turns and the content of the last correction}."""
    children = {each.parent: each for each in annotations if each.parent is not None}
    found = {}
    for first in annotations:
        if first.parent is not None:
            continue
        last = first
        while last.annotation_id in children:
            last = children[last.annotation_id]
        content = last.content if "record" in last.content else {**first.content, **last.content}
        found[first.annotation_id] = replace(first, turns=last.turns, content=_plain(content))
    return found


def _place(record: Mapping[str, Any]) -> tuple[str, int]:
    return str(record["file"]), int(record["place"])


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """A content as the record had it: without the record's place."""
    record = content.get("record", {})
    if "own" in record:
        return {**content, "record": record["own"]}
    return {name: value for name, value in content.items() if name != "record"}
