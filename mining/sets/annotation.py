"""An annotation: what a person or a model said of an image set, as plain data and as JSON.

    turns = (Turn("user", (0, 1, "What differs?")), Turn("assistant", ("The left bus is red.",)))
    Annotation.make(set_id, "comparison", Annotator("mixtral-8x7b", prompt_hash="3f…"), turns)

A turn is a list of parts: a text, or the position of an image of the set. So an image can stand anywhere in the
conversation, and a text that happens to contain `<image>` is only a text: a format writes its own marker for an image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, overload

from index.errors import BadInput
from index.files import hash_json

__all__ = ["IMAGE", "ROLES", "Annotation", "Annotator", "Part", "Role", "Turn", "marked_parts", "marked_text"]

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = get_args(Role)
# A text, or the position of an image in its set.
Part = str | int
# LLaVA's marker for an image within a text.
IMAGE = "<image>"
_MARKER = re.compile(re.escape(IMAGE))


@dataclass(frozen=True)
class Turn:
    """One message of a conversation: `role` is system, user or assistant; `parts` are texts and image positions."""

    role: str
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise BadInput(f"a turn's role is {', '.join(ROLES)}, not {self.role!r:.50}")

    @property
    def text(self) -> str:
        """The texts of the turn without the images, joined."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[int, ...]:
        """The positions of the turn's images, in their order."""
        return tuple(part for part in self.parts if isinstance(part, int))


@dataclass(frozen=True)
class Annotator:
    """Who wrote an annotation. name: a model, a person or a tool, such as `mixtral-8x7b` or `spot-the-diff`.

    version: of the model or the tool. prompt_hash: of the prompt that a model was given. parameters: such as the
    temperature, as JSON data.
    """

    name: str
    version: str | None = None
    prompt_hash: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Annotation:
    """What one annotator said of one set. A set may have many, also several of one kind.

    kind: `comparison`, `conversation`, `question`, `difference_note`, `group_caption`, `story` or another word. turns:
    a conversation about the set's images, empty where there is none. content: what the turns do not say, as a JSON
    object (the options of a question, an attribute's name). parent: the id of the annotation that this one was made
    from; where both are of one kind, this one replaces it.
    """

    annotation_id: str
    set_id: str
    kind: str
    annotator: Annotator
    turns: tuple[Turn, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None

    @classmethod
    def make(
        cls,
        set_id: str,
        kind: str,
        annotator: Annotator,
        turns: Iterable[Turn] = (),
        content: Mapping[str, Any] | None = None,
        parent: str | None = None,
    ) -> Annotation:
        """An annotation whose id is a hash of all other fields, so that equal annotations have equal ids.

        Raises BadInput as `check` does.
        """
        turns, content = tuple(turns), dict(content or {})
        own = [set_id, kind, annotator.name, annotator.version, annotator.prompt_hash, dict(annotator.parameters)]
        said = [[turn.role, list(turn.parts)] for turn in turns]
        made = cls("", set_id, kind, annotator, turns, content, parent)
        made.check()
        return replace(made, annotation_id=hash_json([*own, said, content, parent])[:24])

    def check(self) -> None:
        """Raise BadInput where the annotation cannot be written, or nobody could tell whose it is.

        That is without a kind or a name of the annotator, with parts of turns that are no texts or numbers, with
        anything but JSON data (which has no NaN) or Unicode in its fields, or with itself as its parent.
        """
        where = f"an annotation ({self.kind!r:.50}) of set {self.set_id!r:.100}"
        if not isinstance(self.kind, str) or not self.kind.strip():
            raise BadInput(f"{where}: has no kind; name one, such as 'comparison'")
        if not isinstance(self.annotator.name, str) or not self.annotator.name.strip():
            raise BadInput(f"{where}: has no annotator; name the model, person or tool")
        for part in (part for turn in self.turns for part in turn.parts):
            if not isinstance(part, str) and (type(part) is not int or part < 0):  # `type`, since True == 1
                raise BadInput(f"{where}: a turn's parts are texts and image positions from 0, not {part!r:.50}")
        if self.parent is not None and (not self.parent or self.parent == self.annotation_id):
            raise BadInput(f"{where}: has {'itself' if self.parent else 'an empty text'} as its parent")
        said = self.annotator
        texts = [self.set_id, self.kind, said.name, said.version, said.prompt_hash, self.parent]
        turns = [part for turn in self.turns for part in turn.parts]
        try:
            whole = json.dumps(
                [texts, turns, dict(said.parameters), dict(self.content)], ensure_ascii=False, allow_nan=False
            )
            whole.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"{where}: has a text that is no Unicode ({error.object[error.start]!r})") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(f"{where}: cannot be written as JSON ({error})") from error

    def to_json(self) -> dict[str, Any]:
        """The annotation as docs/image-sets.schema.json describes it."""
        annotator = self.annotator
        return {
            "annotation_id": self.annotation_id,
            "kind": self.kind,
            "annotator": {
                "name": annotator.name,
                "version": annotator.version,
                "prompt_hash": annotator.prompt_hash,
                "parameters": dict(annotator.parameters),
            },
            "turns": [
                {
                    "role": turn.role,
                    "parts": [{"text": part} if isinstance(part, str) else {"image": part} for part in turn.parts],
                }
                for turn in self.turns
            ],
            "content": dict(self.content),
            "parent": self.parent,
        }

    def check_images(self, size: int) -> None:
        """Raise BadInput where a turn shows an image that a set of `size` members does not have."""
        for image in (image for turn in self.turns for image in turn.images):
            if not 0 <= image < size:
                raise BadInput(
                    f"an annotation ({self.kind}) of set {self.set_id!r:.100} shows its image {image}, but the set "
                    f"has {size}"
                )

    @classmethod
    def from_json(cls, set_id: str, value: Mapping[str, Any]) -> Annotation:
        """The annotation of a set from the JSON of `to_json`. Raises BadInput, which says what is wrong."""
        try:
            said = value["annotator"]
            annotator = Annotator(
                _text(said["name"]),
                _text(said.get("version"), or_none=True),
                _text(said.get("prompt_hash"), or_none=True),
                _object(said.get("parameters")),
            )
            turns = tuple(Turn(turn["role"], tuple(_part(part) for part in turn["parts"])) for turn in value["turns"])
            return cls(
                annotation_id=_text(value["annotation_id"]),
                set_id=_text(set_id),
                kind=_text(value["kind"]),
                annotator=annotator,
                turns=turns,
                content=_object(value.get("content")),
                parent=_text(value.get("parent"), or_none=True),
            )
        except KeyError as error:
            raise BadInput(f"{error} is missing") from error
        except (TypeError, AttributeError) as error:
            raise BadInput(f"is not an annotation ({error})") from error


def marked_parts(text: str, first: int = 0) -> tuple[Part, ...]:
    """The parts of a text with LLaVA's markers; the first `<image>` is the image at position `first`."""
    parts: list[Part] = []
    for number, piece in enumerate(_MARKER.split(text)):
        if number:
            parts.append(first + number - 1)
        if piece:
            parts.append(piece)
    return tuple(parts)


def marked_text(parts: Iterable[Part]) -> str:
    """The parts as one text with `<image>` for each image; `<image>` within a text becomes `image`.

    A trainer counts the markers, and a caption from the web may contain one.
    """
    return "".join(IMAGE if isinstance(part, int) else part.replace(IMAGE, "image") for part in parts)


def _part(value: Mapping[str, Any]) -> Part:
    if "text" in value:
        return _text(value["text"], empty=True)
    image = value["image"]
    if type(image) is not int or image < 0:  # `type`, since True == 1
        raise BadInput(f"an image's position is a number from 0, not {image!r:.50}")
    return image


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadInput(f"{value!r:.50} is not an object")
    return value


@overload
def _text(value: Any, *, empty: bool = False) -> str: ...
@overload
def _text(value: Any, *, or_none: Literal[True]) -> str | None: ...
def _text(value: Any, *, empty: bool = False, or_none: bool = False) -> str | None:
    if value is None and or_none:
        return None
    if not isinstance(value, str) or not (value or empty):
        raise BadInput(f"{value!r:.50} is not a text")
    return value
