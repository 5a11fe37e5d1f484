"""Questions about two images with an answer that can be checked: CaD-VI's evaluation files, and NLVR2's statements.

CaD-VI (BISON, SVO-Probes, NLVR2, EQBEN, COLA, CaD-QA): {"image": [a, b], "text": "Image 1: <image>...", "answer": "A",
"question_id": "0_1", "category": "subject"}. NLVR2 (Suhr et al., ACL 2019): {"sentence", "label": "True", "identifier":
"dev-850-0-0", "left_url", "right_url", ...}, where the images of the pair are dev-850-0-img0.png and -img1.png.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet
from mining.sets.importers.conversations import COUNT_REASON
from mining.sets.importers.llava import read_images, write_images
from mining.sets.importers.record import (
    Draft,
    NamedImage,
    RecordRejected,
    Said,
    in_order,
    marked_turn,
    pick,
    require_text,
    rest_of,
    turn_text,
)

__all__ = ["parse_cad_eval", "parse_nlvr2", "restore_cad_eval", "restore_nlvr2"]

_EVAL = ("image", "text", "answer")
_NLVR2 = ("sentence", "left_url", "label", "right_url", "identifier")


def parse_cad_eval(record: Mapping[str, Any]) -> Draft:
    """A record of CaD-VI's evaluation files. Raises RecordRejected."""
    image, text, answer = pick(record, _EVAL)
    images, how = read_images(image)
    question = marked_turn("user", require_text(text, "text"), 0)
    if len(question.images) != len(images):
        raise RecordRejected(COUNT_REASON, f"{len(question.images)} markers, {len(images)} images")
    turns = (question, Turn("assistant", (require_text(answer, "answer"),)))
    rest, form = rest_of(record, _EVAL)
    own = rest.get("question_id")
    return Draft(
        None if own is None else str(own),
        images,
        (Said("question", turns, rest),),
        {**form, **({"image": how} if how else {})},
    )


def restore_cad_eval(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The record that `parse_cad_eval` was given."""
    question, answer = own[0].turns
    known = {
        "image": write_images(each.members, form.get("image", {})),
        "text": turn_text(question.parts),
        "answer": answer.text,
    }
    return in_order(known, own[0].content, form)


def parse_nlvr2(record: Mapping[str, Any]) -> Draft:
    """A record of NLVR2: a statement about two images, True or False. Raises RecordRejected."""
    sentence, label, identifier = (
        require_text(value, name)
        for name, value in zip(
            ("sentence", "label", "identifier"), pick(record, ("sentence", "label", "identifier")), strict=True
        )
    )
    pair, _, number = identifier.rpartition("-")
    if not pair or not number:
        raise RecordRejected("an identifier of another form", f"{identifier!r:.60}, not split-set-pair-sentence")
    names = [f"{pair}-img{side}.png" for side in (0, 1)]
    # The training images lie in numbered folders, named by the record.
    folder = record.get("directory")
    images = tuple(
        NamedImage(name, _url(record.get(url)), () if folder is None else (f"{folder}/{name}",))
        for name, url in zip(names, ("left_url", "right_url"), strict=True)
    )
    turns = (Turn("user", (0, 1, sentence)), Turn("assistant", (label,)))
    rest, form = rest_of(record, _NLVR2)
    lacking = [name for name in ("left_url", "right_url") if record.get(name) is None]
    if lacking:
        form["without"] = {name: name in record for name in lacking}
    content = {"identifier": identifier, **rest}
    return Draft(identifier, images, (Said("statement", turns, content),), form, split=identifier.split("-")[0])


def restore_nlvr2(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The record that `parse_nlvr2` was given."""
    rest = dict(own[0].content)
    statement, label = own[0].turns
    without = form.get("without", {})
    known = {
        "sentence": statement.text,
        "left_url": each.members[0].url,
        "label": label.text,
        "right_url": each.members[1].url,
        "identifier": rest.pop("identifier"),
    }
    return in_order({name: value for name, value in known.items() if without.get(name, True)}, rest, form)


def _url(value: Any) -> str | None:
    return None if value is None else require_text(value, "an image's URL")
