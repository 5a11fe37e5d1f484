"""The records that image sets were imported from, made again from their members, turns and contents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from index.errors import BadInput
from index.files import join_inside, read_bytes_range, write_atomic
from mining.sets.annotation import Annotation, Part, Turn
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

    Raises BadInput where the sets were not imported, lack a record's annotations, or have a correction that the format
    cannot hold, such as a third turn where it has a question and an answer.
    """
    form = _format(sets, format)
    placed: dict[str, dict[int, Any]] = {}
    for each in sets.with_annotations(replaced=True):
        plain = replace(each, extra=_plain(each.extra))
        for (file, place), own in _records_of(each).items():
            placed.setdefault(file, {})[place] = _restored(sets, form, plain, own)
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


@dataclass
class _Record:
    """How a record was written, its annotations as they are corrected, and by whom."""

    form: Mapping[str, Any]
    said: list[Annotation] = field(default_factory=list)
    by: list[str] = field(default_factory=list)


def _restored(sets: ImageSets, form: Format, each: ImageSet, own: _Record) -> Any:
    """The record of these annotations. A corrected one is read again: it must say what the correction says."""
    by = ", ".join(sorted(set(own.by)))
    try:
        found = form.restore(each, own.said, own.form)
        same = not by or _said(form.parse(found).said) == _said(own.said)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration, RuntimeError):
        same = False
    if not same:
        why = f"the correction by {by} says what {form.name} cannot hold" if by else "its annotations are not complete"
        file, place = _place(own.form)
        raise BadInput(
            f"{sets.path}: set {each.set_id!r:.100}: record {place} of {file} cannot be written again: {why}; correct "
            "it once more, with the turns and the content of the imported annotation, or leave the set out"
        )
    return found


def _said(annotations: Iterable[Any]) -> list[Any]:
    """The turns and contents of annotations (or of what `parse` found), in an order of their own."""
    return sorted(([[*map(_turn, each.turns)], dict(each.content)] for each in annotations), key=repr)


def _turn(turn: Turn) -> tuple[str, list[Part]]:
    """A turn's role, and its parts with neighbouring texts joined and empty ones left out."""
    parts: list[Part] = []
    for part in turn.parts:
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        elif part != "":
            parts.append(part)
    return turn.role, parts


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


def _records_of(each: ImageSet) -> dict[tuple[str, int], _Record]:
    """{(file, place): the record} of a set's annotations; of the set's own, where it has none."""
    whole = each.extra.get("record")
    if _is_record(whole):
        return {_place(whole): _Record(whole)}
    found: dict[tuple[str, int], _Record] = {}
    latest = _latest(each.annotations)
    for annotation in each.annotations:
        record = annotation.content.get("record")
        # An annotation that was made here, by a model or a person, belongs to no record; a correction is in `latest`.
        if annotation.parent is None and _is_record(record):
            own, last = found.setdefault(_place(record), _Record(record)), latest[annotation.annotation_id]
            own.said.append(replace(annotation, turns=last.turns, content=_plain(last.content)))
            if last.annotation_id != annotation.annotation_id:
                own.by.append(last.annotator.name)
    return found


def _latest(annotations: Sequence[Annotation]) -> dict[str, Annotation]:
    """{id of an annotation without a parent: it, or its last correction, with the first one's `record`}.

    Where a correction lacks the record's place, its content is what differs from the content before.
    """
    children = {(each.parent, each.kind): each for each in annotations if each.parent is not None}
    found = {}
    for first in annotations:
        if first.parent is not None:
            continue
        last = first
        while (last.annotation_id, first.kind) in children:
            last = children[last.annotation_id, first.kind]
        record = first.content.get("record")
        whole = "record" in last.content and last.content["record"] == record
        content = last.content if whole else {**first.content, **last.content, "record": record}
        found[first.annotation_id] = replace(last, content=content)
    return found


def _is_record(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a `record` is one that an import wrote; an annotation that was made here may have anything there."""
    return isinstance(value, Mapping) and isinstance(value.get("file"), str) and type(value.get("place")) is int


def _place(record: Mapping[str, Any]) -> tuple[str, int]:
    return str(record["file"]), int(record["place"])


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """A content as the record had it: without the record's place."""
    record = content.get("record", {})
    if "own" in record:
        return {**content, "record": record["own"]}
    return {name: value for name, value in content.items() if name != "record"}
