"""LLaVA's instruction files, and CaD-Inst, which has their form.

LLaVA: {"id", "image": "coco/train2017/1.jpg" (or a list, or absent), "conversations": [...], ...}. CaD-Inst (Parquet):
the list of two images is written as a text, and phase 1 has a `clip_sim_score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mining.sets.annotation import Annotation
from mining.sets.image_set import ImageSet, Member
from mining.sets.importers.conversations import read_turns, write_turns
from mining.sets.importers.record import (
    Draft,
    NamedImage,
    RecordRejected,
    Said,
    as_written,
    id_text,
    in_order,
    named_image,
    pick,
    read_written,
    require_text,
    rest_of,
)

__all__ = ["member_name", "parse_cad_inst", "parse_llava", "read_images", "restore_llava", "write_images"]

_FIELDS = ("id", "image", "images", "conversations")


def parse_llava(record: Mapping[str, Any], kind: str = "conversation") -> Draft:
    """A record of LLaVA's form. Raises RecordRejected."""
    (conversations,) = pick(record, ["conversations"])
    if "image" in record and "images" in record:
        raise RecordRejected("has both `image` and `images`")
    form: dict[str, Any] = {}
    images: tuple[NamedImage, ...] = ()
    name = next((name for name in ("image", "images") if name in record), None)
    if name is not None:
        images, how = read_images(record[name])
        if (name, how) != ("image", {}):
            form["image"] = {"field": name, **how}
    written, how_written = read_written(conversations)
    turns, of_turns = read_turns(written, len(images))
    if of_turns or how_written:
        form["conversations"] = {**of_turns, **({"written": how_written} if how_written else {})}
    if name is None:
        form["image"] = None
    rest, order = rest_of(record, _FIELDS)
    content = {**({"id": record["id"]} if "id" in record else {}), **rest}
    return Draft(id_text(record.get("id")), images, (Said(kind, turns, content),), {**form, **order})


def parse_cad_inst(record: Mapping[str, Any]) -> Draft:
    """A record of CaD-Inst: its first turn asks for commonalities and differences. Raises RecordRejected."""
    return parse_llava(record, "comparison")


def restore_llava(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The record that `parse_llava` was given."""
    said = own[0]
    rest = dict(said.content)
    known: dict[str, Any] = {"id": rest.pop("id")} if "id" in rest else {}
    image = form.get("image", {})
    if image is not None:
        known[image.get("field", "image")] = write_images(each.members, image)
    how = form.get("conversations", {})
    known["conversations"] = as_written(write_turns(said.turns, how), how.get("written"))
    return in_order(known, rest, form)


def read_images(value: Any) -> tuple[tuple[NamedImage, ...], dict[str, Any]]:
    """(images, how the field was written) of a field that names one image or several.

    One image is usually a text and several a list; `how` is {} for these. Raises RecordRejected.
    """
    if value is None or value in ("", []):
        return (), {"empty": value}
    found, written = read_written(value)
    how: dict[str, Any] = {"written": written} if written else {}
    if isinstance(found, list | tuple):
        if len(found) == 1:
            how["list"] = True
        return tuple(named_image(require_text(name, "an image's name")) for name in found), how
    return (named_image(require_text(found, "an image's name")),), how


def write_images(members: Sequence[Member], how: Mapping[str, Any]) -> Any:
    """The field that `read_images` read."""
    if "empty" in how:
        return how["empty"]
    names: Any = [member_name(member) for member in members]
    if len(names) == 1 and not how.get("list"):
        (names,) = names
    return as_written(names, how.get("written"))


def member_name(member: Member) -> str | None:
    """An image's name in its collection: the path or id that a record gave, or its URL."""
    return member.key if member.key is not None else member.url
