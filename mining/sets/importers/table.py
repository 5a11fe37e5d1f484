"""Any table of images and texts, by a mapping of its columns: `image=file,caption=text`.

A column that the mapping does not name is kept under its own name. A row may be a list; its columns are then "0", "1".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from index.errors import BadInput
from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet, Member
from mining.sets.importers.conversations import COUNT_REASON, read_turns, write_turns
from mining.sets.importers.llava import member_name
from mining.sets.importers.record import (
    Draft,
    NamedImage,
    RecordRejected,
    Said,
    as_written,
    id_text,
    in_order,
    marked_turn,
    named_image,
    pick,
    read_written,
    require_text,
    rest_of,
    turn_text,
)

__all__ = ["ROLES", "ColumnMap", "parse_mapping"]

# What a column can be mapped to. image and caption may be given several times, one for each image of a set.
ROLES = {
    "id": "the record's id, of which the set's id is made",
    "image": "an image: a path, a URL, a list of these, or the image file itself",
    "caption": "the caption of an image, or a list of captions",
    "question": "what is asked about the images",
    "answer": "the answer, or a text about the images",
    "conversations": "a conversation in LLaVA's form, or chat messages",
    "split": "the published split",
}
_SEVERAL = ("image", "caption")


def parse_mapping(text: str) -> tuple[tuple[str, str], ...]:
    """The (role, column) of "image=file,caption=text". Raises BadInput for anything else."""
    pairs: list[tuple[str, str]] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        role, equals, column = (part.strip() for part in piece.partition("="))
        if not equals or not column or role not in ROLES:
            raise BadInput(f"--map {piece!r:.80}: write ROLE=COLUMN, where ROLE is one of {', '.join(ROLES)}")
        if role not in _SEVERAL and role in [known for known, _ in pairs]:
            raise BadInput(f"--map: {role} is given twice; only {' and '.join(_SEVERAL)} may be")
        if column in [known for _, known in pairs]:
            raise BadInput(f"--map: the column {column!r:.80} is given twice; a column has one role")
        pairs.append((role, column))
    roles = {role for role, _ in pairs}
    if "conversations" in roles and roles & {"question", "answer"}:
        raise BadInput("--map: give either conversations or question and answer; a row has one text")
    if not {"image", "question", "answer", "conversations"} & roles:
        raise BadInput("--map: name the columns of a set's images, as in --map image=file,caption=text")
    return tuple(pairs)


@dataclass(frozen=True)
class ColumnMap:
    """Reads and writes the rows of a table. mapping: (role, column), as `parse_mapping` gives it.

    kind: of the annotations; by default conversation, question or note, by the roles that are mapped. read_image: the
    file of a member, for tables that hold the image files themselves.
    """

    mapping: tuple[tuple[str, str], ...]
    kind: str | None = None
    read_image: Callable[[Member], bytes] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        return tuple(dict.fromkeys(column for _, column in self.mapping))

    def _of(self, role: str) -> list[str]:
        return [column for known, column in self.mapping if known == role]

    @property
    def _spoken(self) -> tuple[str, ...]:
        """The columns with what is said of the images, without which a row with images is still a set."""
        columns = tuple(column for role in ("conversations", "question", "answer") for column in self._of(role))
        return columns if self._of("image") else ()

    def parse(self, record: Any) -> Draft:
        """A row; one with images whose texts are missing or null has no annotation. Raises RecordRejected."""
        form: dict[str, Any] = {}
        if isinstance(record, list):
            record, form["row"] = {str(place): value for place, value in enumerate(record)}, "list"
        pick(record, [column for column in self.columns if column not in self._spoken])
        images = self._images(record, form)
        images = self._captioned(record, images, form)
        said, known = self._said(record, len(images), form)
        known |= {*self._of("image"), *self._of("caption")}
        split = next((record[column] for column in self._of("split") if isinstance(record[column], str)), None)
        known |= set(self._of("split")) if split is not None else set()
        rest, order = rest_of(record, [column for column in self.columns if column in known])
        record_id = next((id_text(record[column]) for column in self._of("id")), None)
        if said is None:
            return Draft(record_id, images, (), {**form, **order}, split=split, extra=rest)
        return Draft(record_id, images, (replace(said, content=rest),), {**form, **order}, split=split)

    def restore(self, each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> Any:
        """The row that `parse` was given."""
        known: dict[str, Any] = {}
        coming = iter(each.members)
        for column in self._of("image"):
            how = form.get("images", {}).get(column, {"count": 1})
            known[column] = self._write_images([next(coming) for _ in range(how["count"])], how)
        known |= self._write_captions(each, form)
        known |= dict.fromkeys(self._of("split"), each.split) if each.split is not None else {}
        rest = dict(own[0].content if own else each.extra)
        if own:
            known |= self._write_said(own[0], form)
        known = {column: known[column] for column in self.columns if column in known}
        whole = in_order(known, rest, form)
        return list(whole.values()) if form.get("row") == "list" else whole

    def _images(self, record: Mapping[str, Any], form: dict[str, Any]) -> tuple[NamedImage, ...]:
        images: list[NamedImage] = []
        for column in self._of("image"):
            found, written = read_written(record[column])
            how: dict[str, Any] = {"written": written} if written else {}
            if isinstance(found, list):
                how["list"] = True
            elif found is None or found == "":
                how["empty"] = found
            values = found if isinstance(found, list) else [] if "empty" in how else [found]
            own = [_image(value) for value in values]
            if own and own[0].data is not None:
                how["file"] = isinstance(values[0], Mapping)
            if len(own) != 1 or how:
                form.setdefault("images", {})[column] = {"count": len(own), **how}
            images += own
        return tuple(images)

    def _write_images(self, members: Sequence[Member], how: Mapping[str, Any]) -> Any:
        if "empty" in how:
            return how["empty"]
        values: list[Any] = []
        for member in members:
            if "file" not in how:
                values.append(member_name(member))
                continue
            if self.read_image is None:
                raise BadInput("the images of this table are files: name where they are to be read")
            data = self.read_image(member)
            values.append({"bytes": data, "path": member.extra.get("path")} if how["file"] else data)
        return as_written(values if how.get("list") else values[0], how.get("written"))

    def _captioned(
        self, record: Mapping[str, Any], images: tuple[NamedImage, ...], form: dict[str, Any]
    ) -> tuple[NamedImage, ...]:
        columns = self._of("caption")
        values = [record[column] for column in columns]
        if not columns:
            return images
        if len(columns) == 1 and len(images) != 1:
            found, written = read_written(values[0])
            if found is None:
                found = [None] * len(images)
                written = "null"
            form["caption_list"] = written or True
            values = found if isinstance(found, list) else [found]
        if len(values) != len(images):
            raise RecordRejected("another number of captions than images", f"{len(values)}, {len(images)} images")
        captioned = []
        for place, (image, value) in enumerate(zip(images, values, strict=True)):
            if value == []:
                form.setdefault("no_captions", []).append(place)
            if isinstance(value, list) and all(isinstance(each, str) for each in value):
                captioned.append(replace(image, caption=value[0] if value else None, captions=tuple(value)))
            elif value is None or isinstance(value, str):
                captioned.append(replace(image, caption=value))
            else:
                raise RecordRejected("a field of another type", "a caption is a text or a list of texts")
        return tuple(captioned)

    def _write_captions(self, each: ImageSet, form: Mapping[str, Any]) -> dict[str, Any]:
        columns = self._of("caption")
        values: list[Any] = [list(member.captions) or member.caption for member in each.members]
        for place in form.get("no_captions", ()):
            values[place] = []
        if "caption_list" in form:
            how = form["caption_list"]
            return {columns[0]: None if how == "null" else as_written(values, None if how is True else how)}
        return dict(zip(columns, values, strict=True)) if columns else {}

    def _said(self, record: Mapping[str, Any], images: int, form: dict[str, Any]) -> tuple[Said | None, set[str]]:
        """(the annotation without its content, None for a row without texts; the columns that it was made of)."""
        conversations, question, answer = (self._of(role) for role in ("conversations", "question", "answer"))
        if conversations and images and record.get(conversations[0]) is None:
            return None, set()
        if conversations:
            pick(record, conversations)
            found, written = read_written(record[conversations[0]])
            turns, of_turns = read_turns(found, images)
            if of_turns or written:
                form["conversations"] = {**of_turns, **({"written": written} if written else {})}
            return Said(self.kind or "conversation", turns), {conversations[0]}
        if not question and not answer:
            return None, set()
        if images and any(record.get(column) is None for column in (*question, *answer)):
            return None, set()
        pick(record, (*question, *answer))
        asked = Turn("user", tuple(range(images)))
        if question:
            asked = marked_turn("user", require_text(record[question[0]], question[0]), 0)
            if images and not asked.images:
                asked = Turn("user", (*range(images), *asked.parts))
                form["images_first"] = True
            if len(asked.images) != images:
                raise RecordRejected(COUNT_REASON, f"{len(asked.images)} markers, {images} images")
        turns = (asked,)
        if answer:
            value = record[answer[0]]
            if isinstance(value, bool | int | float):  # a label
                value, form["answer"] = json.dumps(value), "json"
            turns = (asked, Turn("assistant", (require_text(value, answer[0]),)))
        kind = self.kind or ("question" if question else "note")
        return Said(kind, turns if asked.parts else turns[1:]), {*question, *answer}

    def _write_said(self, said: Annotation, form: Mapping[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        if columns := self._of("conversations"):
            how = form.get("conversations", {})
            return {columns[0]: as_written(write_turns(said.turns, how), how.get("written"))}
        for column in self._of("question"):
            asked = said.turns[0]
            known[column] = asked.text if form.get("images_first") else turn_text(asked.parts)
        for column in self._of("answer"):
            text = said.turns[-1].text
            known[column] = json.loads(text) if form.get("answer") == "json" else text
        return known


def _image(value: Any) -> NamedImage:
    """A name, or a file as Hugging Face's data sets hold it: {"bytes", "path"}, or the bytes alone."""
    if isinstance(value, Mapping) and {"bytes", "path"} >= set(value) and isinstance(value.get("bytes"), bytes):
        path = value.get("path")
        return NamedImage(None, data=value["bytes"], extra={} if path is None else {"path": path})
    if isinstance(value, Mapping) and isinstance(value.get("path"), str) and value.get("bytes") is None:
        raise RecordRejected("an image without its bytes", f"{value['path']!r:.80}; map a column of paths instead")
    if isinstance(value, bytes):
        return NamedImage(None, data=value)
    return named_image(require_text(value, "an image's name"))
