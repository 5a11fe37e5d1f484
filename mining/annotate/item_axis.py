"""The axis of a sentence about images, found by its words: "The left bus is red" is about attributes.

Used where a model did not say to which axis an item belongs. Words and facts are those of `mining.text`.
"""

from __future__ import annotations

import re

from mining.text.caption_facts import facts_of

__all__ = ["axis_named", "axis_of"]

# Words by which a sentence names its axis outright; the first that matches decides.
_NAMED = (
    ("relative positions", r"relative positions?|positioned|to the (left|right)|left of|right of|next to|in front of|"
     r"behind|beside|underneath|on top of|farther|nearer|(left|right|middle|center) of the (image|picture|frame)"),
    ("counts", r"the (number|count|amount) of|how many|more|fewer|\d+"),
    ("attributes", r"colou?rs?|colou?red|sized?|textures?|shapes?|materials?|bigger|smaller|larger|taller|"
     r"darker|brighter"),
    ("locations", r"locations?|settings?|backgrounds?|indoors?|outdoors?|environments?|takes? place|"
     r"set (in|on|at)|were taken|was taken"),
    ("actions", r"actions?|activit(y|ies)|engaged in"),
    ("object types", r"types? of|kinds? of|objects?"),
)  # fmt: skip
_NAMED_WORDS = tuple((axis, re.compile(rf"\b(?:{pattern})\b")) for axis, pattern in _NAMED)
# "Image 1", "the first image" and the like: what they hold is compared, they are not counted.
_IMAGE_NAMES = re.compile(r"\b(?:(?:image|picture|photo)s? ?#?\d+|(?:both|two|all|the) (?:of the )?(?:two )?images?)\b")
_NUMBERED_IMAGE = re.compile(r"\bimage (\d+)")
_READ = 600  # characters of an item that are looked at

# Names of the axes as headings and prefixes, in lower case.
_NAMES = {
    "object types": "object types|object type|objects|object|types of objects|object types present|types|subjects|"
    "subject|main objects|object categories|object category",
    "attributes": "attributes|attribute|object attributes|color|colors|colour|colours|appearance|color and attributes|"
    "size|texture|materials|material|clothing",
    "counts": "counts|count|counting|number|numbers|number of objects|quantity|quantities|object counts|object count",
    "actions": "actions|action|activities|activity|poses|pose|actions and activities",
    "locations": "locations|location|place|places|setting|settings|scene|background|backgrounds|environment|"
    "location and setting|lighting|weather",
    "relative positions": "relative positions|relative position|relative positioning|positions|position|positioning|"
    "spatial relations|spatial relationships|spatial arrangement|relative locations|relative location|layout|"
    "composition",
}
_BY_NAME = {name: axis for axis, names in _NAMES.items() for name in names.split("|")}
_ATTRIBUTES = ("color", "size", "material", "texture", "shape", "state", "attribute")
# axis of mining.text.axes -> axis of a comparison
_FACT_AXES = {
    "position": "relative positions", "action": "actions", "place": "locations", "light": "locations",
    "view": "locations", **dict.fromkeys(_ATTRIBUTES, "attributes"),
}  # fmt: skip


def axis_named(label: str) -> str | None:
    """The axis that a heading or a prefix names ("Object Types", "Colors"), None for another text."""
    words = re.sub(r"[^a-z ]+", " ", label.lower()).split()
    name = " ".join(words)
    for end in (" differences", " commonalities", " similarities", " axis"):
        name = name.removesuffix(end)
    first = re.split(r" (?:and|or) ", name, maxsplit=1)[0]
    return _BY_NAME.get(name) or (_BY_NAME.get(first) if len(words) <= 4 else None)


def axis_of(text: str) -> str | None:
    """One of `AXES`, None where the words do not say, as in another language."""
    text = text[:_READ].lower()
    said = _IMAGE_NAMES.sub(" ", text)
    # "Image 1 shows two dogs" is about the dogs; a count is compared with that of another image.
    one_image = len(set(_NUMBERED_IMAGE.findall(text))) == 1 and text.startswith("image")
    for axis, pattern in _NAMED_WORDS[:2]:
        if pattern.search(said):
            return axis
    facts = facts_of(said)
    found = {_FACT_AXES[name] for name, _ in facts if name in _FACT_AXES}
    if not one_image and any(
        name == "count" and value.partition("|")[0] not in ("1", "many") for (name, _), value in facts.items()
    ):
        found.add("counts")
    for axis in ("relative positions", "counts", "actions", "attributes", "locations"):
        if axis in found:
            return axis
    for axis, pattern in _NAMED_WORDS[2:]:
        if pattern.search(said):
            return axis
    return "object types" if any(name == "object" for name, _ in facts) else None
