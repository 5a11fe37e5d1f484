"""Notes of people on what differs between two images: Spot-the-Diff and Birds-to-Words.

Spot-the-Diff (Jhamtani and Berg-Kirkpatrick, EMNLP 2018): {"img_id": "5406", "sentences": [...]}, with the images
5406.png and 5406_2.png. Birds-to-Words (Forbes et al., EMNLP 2019): a table of eleven columns, two photographs of
iNaturalist by URL and one of up to five descriptions a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet
from mining.sets.importers.record import (
    Draft,
    NamedImage,
    RecordRejected,
    Said,
    id_text,
    in_order,
    pick,
    require_text,
    rest_of,
)

__all__ = ["note_turns", "parse_birds", "parse_spot_the_diff", "restore_birds", "restore_spot_the_diff"]

_SPOT = ("img_id", "sentences")
# Column of the first image -> field of its member's `extra`; the second image's columns begin with img2.
_OF_IMAGE = {"ObservationURL": "observation_url", "Species": "species", "Selection": "selection"}
_BIRDS = tuple(
    [f"img{side}{name}" for side in (1, 2) for name in ("ObservationURL", "ImgURL", "Species", "Selection")]
    + ["split", "annN", "description"]
)
_PHOTO = re.compile(r"/photos/(\d+)/")


def note_turns(text: str) -> tuple[Turn, ...]:
    """The turns of a note on two images: both images, then the note."""
    return (Turn("user", (0, 1)), Turn("assistant", (text,)))


def parse_spot_the_diff(record: Mapping[str, Any]) -> Draft:
    """A record of Spot-the-Diff: one person's sentences are one note, a line each. Raises RecordRejected."""
    own, sentences = pick(record, _SPOT)
    if id_text(own) is None or isinstance(own, bool):
        raise RecordRejected("a field of another type", "img_id is neither a text nor a number")
    name = str(own)
    if not isinstance(sentences, list) or not all(isinstance(each, str) for each in sentences):
        raise RecordRejected("a field of another type", "sentences is not a list of texts")
    text = "\n".join(sentences)
    rest, form = rest_of(record, _SPOT)
    if text.split("\n") != sentences:  # a sentence has a line break, or there are no sentences
        form["sentences"] = [sentence.count("\n") for sentence in sentences]
    content = {"img_id": own, **rest}
    images = (NamedImage(name), NamedImage(f"{name}_2"))
    return Draft(name, images, (Said("difference_note", note_turns(text), content),), form)


def restore_spot_the_diff(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The record that `parse_spot_the_diff` was given."""
    rest = dict(own[0].content)
    lines = own[0].turns[1].text.split("\n")
    breaks = form.get("sentences", [0] * len(lines))
    if sum(breaks) + len(breaks) != len(lines) and (breaks or lines != [""]):
        breaks = [0] * len(lines)  # a correction has other lines: each is a sentence
    coming = iter(lines)
    sentences = ["\n".join(next(coming) for _ in range(count + 1)) for count in breaks]
    return in_order({"img_id": rest.pop("img_id"), "sentences": sentences}, rest, form)


def parse_birds(record: Mapping[str, Any]) -> Draft:
    """A row of Birds-to-Words. Raises RecordRejected."""
    values = dict(zip(_BIRDS, pick(record, _BIRDS), strict=True))
    images = []
    for side in (1, 2):
        url = require_text(values[f"img{side}ImgURL"], "an image's URL")
        photo = _PHOTO.search(url)
        extra = {ours: values[f"img{side}{theirs}"] for theirs, ours in _OF_IMAGE.items()}
        # Saved photographs are named by the number of the photograph; the URL ends with its size, such as large.jpg.
        images.append(NamedImage(None, url, (photo[1],) if photo else (), extra=extra))
    text = require_text(values["description"], "description")
    rest, form = rest_of(record, _BIRDS)
    said = Said("difference_note", note_turns(text), {"annN": values["annN"], **rest})
    return Draft(None, tuple(images), (said,), form, split=require_text(values["split"], "split"))


def restore_birds(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The row that `parse_birds` was given."""
    rest = dict(own[0].content)
    known: dict[str, Any] = {}
    for side, member in zip((1, 2), each.members, strict=True):
        known |= {f"img{side}{theirs}": member.extra[ours] for theirs, ours in _OF_IMAGE.items()}
        known[f"img{side}ImgURL"] = member.url
    known |= {"split": each.split, "annN": rest.pop("annN"), "description": own[0].turns[1].text}
    return in_order({name: known[name] for name in _BIRDS}, rest, form)
