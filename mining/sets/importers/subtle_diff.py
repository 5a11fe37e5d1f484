"""Subtle-Diff: what two people wrote about an object before and after an edit, for its color, shape and texture.

Two files, one a person and pair: {"name": "test/v1_1010_oboe", "contents": [{"name": "v1_1010_after", ...}, ...],
"attributes": [{"type": "textarea", "key": "color", "value": "The oboe in image 1 ..."}, ...], ...}. Each text of an
attribute is an annotation, so that three attributes x two people stand side by side. What the annotation tool recorded
about the task (status, dates, check boxes) is one more annotation, of kind `task`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mining.sets.annotation import Annotation
from mining.sets.image_set import ImageSet
from mining.sets.importers.difference_notes import note_turns
from mining.sets.importers.record import (
    Draft,
    NamedImage,
    RecordRejected,
    Said,
    in_order,
    pick,
    require_text,
    rest_of,
)

__all__ = ["parse_subtle_diff", "restore_subtle_diff"]

_FIELDS = ("contents", "attributes")


def parse_subtle_diff(record: Mapping[str, Any]) -> Draft:
    """A record of Subtle-Diff. Raises RecordRejected."""
    name, contents, attributes = pick(record, ("name", *_FIELDS))
    name = require_text(name, "name")
    if not isinstance(contents, list) or not isinstance(attributes, list):
        raise RecordRejected("a field of another type", "contents and attributes are lists")
    if len(contents) != 2:
        raise RecordRejected("has not two images", f"{len(contents)} contents")
    images = tuple(_image(content) for content in contents)
    said = []
    others = []
    for place, attribute in enumerate(attributes):
        if not isinstance(attribute, Mapping):
            raise RecordRejected("a field of another type", "an attribute is no object")
        value = attribute.get("value")
        if attribute.get("type") == "textarea" and isinstance(value, str) and value:
            own = {each: attribute[each] for each in attribute if each != "value"}
            order = {} if next(reversed(attribute)) == "value" else {"attribute_fields": list(attribute)}
            content = {"attribute": attribute.get("key"), "place": place, "described": own, **order}
            said.append(Said("difference_note", note_turns(value), content))
        else:
            others.append({"place": place, "attribute": dict(attribute)})
    rest, _ = rest_of(record, _FIELDS)
    form = {} if list(record) == _natural(rest) else {"fields": list(record)}
    said.append(Said("task", (), {**rest, "attributes": others}))
    split, _, pair = name.rpartition("/")
    # "v1_1010_oboe": the version, the number and the object.
    words = pair.split("_", 2)
    concept = words[2] if len(words) == 3 else None
    return Draft(name, images, tuple(said), form, split=split or None, concept=concept)


def restore_subtle_diff(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The record that `parse_subtle_diff` was given, from its notes and its task."""
    task = next(annotation for annotation in own if annotation.kind == "task")
    rest = dict(task.content)
    placed = {other["place"]: other["attribute"] for other in rest.pop("attributes")}
    for annotation in own:
        if annotation.kind != "task":
            content = annotation.content
            whole = {**content["described"], "value": annotation.turns[1].text}
            fields = content.get("attribute_fields", list(whole))
            placed[content["place"]] = {name: whole[name] for name in fields}
    known = {
        "contents": [{"name": member.key, **member.extra} for member in each.members],
        "attributes": [placed[place] for place in sorted(placed)],
    }
    whole = in_order(known, rest, form)
    return whole if "fields" in form else {name: whole[name] for name in _natural(rest)}


def _natural(rest: Mapping[str, Any]) -> list[str]:
    """The order of the published files: contents and attributes stand among the other fields."""
    names = list(rest)
    for name, before in (("contents", "secondsToAnnotate"), ("attributes", "tags")):
        names.insert(names.index(before) if before in names else len(names), name)
    return names


def _image(content: Any) -> NamedImage:
    if not isinstance(content, Mapping) or next(iter(content), None) != "name":
        raise RecordRejected("a field of another type", "contents are objects that begin with a name")
    extra = {name: value for name, value in content.items() if name != "name"}
    url = require_text(content.get("url", ""), "an image's URL")
    return NamedImage(require_text(content["name"], "an image's name"), url or None, extra=extra)
