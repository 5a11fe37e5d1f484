"""The classes of a detector: base ones, whose boxes are trained on, and novel ones, whose names alone are known.

load_vocabulary("coco-48-17")     # COCO's published split, which comes with clipmine
load_vocabulary("mine.json")      # a file of the user, in the same form

{"name": "mine", "source": "...", "templates": "openai_imagenet" or ["a {}"], "base": [...], "novel": [...]}

`base` and `novel` may also be objects that give each name its category id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from index.errors import BadInput
from index.files import read_bytes

__all__ = ["Vocabulary", "load_vocabulary", "vocabulary_names"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Vocabulary:
    """Names of classes.

    Attributes:
        source: where the lists were read.
        templates: a set's name, or texts with `{}` (`retrieval.templates`).
        category_ids: name -> id in the annotation files that the split was made for; empty where the file has none.
    """

    name: str
    base: tuple[str, ...]
    novel: tuple[str, ...] = ()
    source: str = ""
    templates: tuple[str, ...] | str = "openai_imagenet"
    category_ids: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.base:
            raise BadInput(f"{self.name}: has no base classes, and a detector is trained on their boxes; name some")
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise BadInput(f"{self.name}: has the class {twice[0]!r} twice; leave one of the two out")

    @property
    def classes(self) -> tuple[str, ...]:
        """The base classes and then the novel ones, in the order of a detector's labels."""
        return (*self.base, *self.novel)


def vocabulary_names() -> list[str]:
    """Names of the splits that come with clipmine."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_vocabulary(source: str | os.PathLike[str]) -> Vocabulary:
    """Load a split by its name or its file. Raises BadInput for an unknown name or a wrong file."""
    text = os.fspath(source)
    if text in vocabulary_names():
        return _parse(str(_FOLDER / f"{text}.json"))
    if not text.endswith(".json"):
        raise BadInput(f"no split {text!r}: give a JSON file or one of {', '.join(vocabulary_names())}")
    return _parse(text)


def _parse(path: str) -> Vocabulary:
    try:
        about = json.loads(read_bytes(path))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file of classes") from error
    except ValueError as error:
        raise BadInput(f"{path}: is not JSON ({' '.join(str(error).split())[:100]})") from error
    if not isinstance(about, dict):
        raise BadInput(f"{path}: is no object with `base` and `novel`")
    ids: dict[str, int] = {}
    templates = about.get("templates", "openai_imagenet")
    return Vocabulary(
        name=str(about.get("name", Path(path).stem)),
        base=_names(path, about, "base", ids),
        novel=_names(path, about, "novel", ids),
        source=str(about.get("source", path)),
        templates=tuple(templates) if isinstance(templates, list) else str(templates),
        category_ids=ids,
    )


def _names(path: str, about: Mapping[str, Any], name: str, ids: dict[str, int]) -> tuple[str, ...]:
    """The names of a list or an object; an object's ids are added to `ids`."""
    found = about.get(name, [])
    if isinstance(found, dict) and all(isinstance(number, int) for number in found.values()):
        ids.update(found)
    elif not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
        raise BadInput(f"{path}: `{name}` is neither a list of names nor an object of names and category ids")
    return tuple(found)
