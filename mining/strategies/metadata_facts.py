"""What a row's metadata states about its image, as facts in the form of `mining.text.caption_facts`.

    {"objects": [{"type": "dog", "hue": 0.1, "ear": {"size": 0.7}}], "light": "day"}
    # {("count", "objects"): 1.0, ("type", "dog"): "dog", ("hue", "dog"): 0.1, ("size", "dog ear"): 0.7,
    #  ("light", ""): "day"}

So a catalog's attributes, the scene graph of a renderer, or the record of an edit serve as truth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["MetadataFacts", "metadata_facts"]

# (name, owner) -> a text or a number
MetadataFacts = dict[tuple[str, str], str | float]

# The fields by which an element of a list is named, the first that it has.
_NAMES = ("type", "category", "label", "class", "name", "id")
# Rows that state more are skipped.
MOST_FACTS = 1_000


def metadata_facts(value: Any, words: Sequence[str], name: str) -> MetadataFacts:
    """The facts of the part of a JSON value that `words` lead to; {} where there is none, or more than MOST_FACTS.

    name: of the part, for a part that is itself a text, a number or a list. Two elements of a list with one name are
    told apart by their order: "dog" and "dog 2". Empty values state nothing.
    """
    for word in words:
        value = _parsed(value)
        value = value.get(word) if isinstance(value, dict) else None
    found: MetadataFacts = {}
    _walk(_parsed(value), name, "", found)
    return found if len(found) <= MOST_FACTS else {}


def _walk(value: Any, name: str, owner: str, found: MetadataFacts) -> None:
    if len(found) > MOST_FACTS:
        return
    if isinstance(value, dict):
        for key, each in value.items():
            inner = isinstance(each, dict)
            _walk(each, str(key), f"{owner} {key}".strip() if inner else owner, found)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        found["count", f"{owner} {name}".strip()] = float(len(value))
        seen: dict[str, int] = {}
        for each in value:
            own = _name(each, name)
            seen[own] = seen.get(own, 0) + 1
            _walk(each, name, own if seen[own] == 1 else f"{own} {seen[own]}", found)
    elif isinstance(value, list):
        texts = sorted(str(each) for each in value if isinstance(each, str | int | float))
        if texts:
            found[name, owner] = ", ".join(texts)
    elif isinstance(value, bool):
        found[name, owner] = "yes" if value else "no"
    elif isinstance(value, int | float):
        if value == value:  # not NaN, which JSON readers allow
            found[name, owner] = float(value)
    elif isinstance(value, str) and value:
        found[name, owner] = value


def _name(element: Any, name: str) -> str:
    if isinstance(element, dict):
        for each in _NAMES:
            if isinstance(element.get(each), str) and element[each]:
                return str(element[each])
    return name


def _parsed(value: Any) -> Any:
    """JSON in a text, as the column `extra` holds it, is parsed."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value
