"""Evaluation sets in webdataset tars, read as a stream. A sample's files share their KEY:

KEY.jpg         the image (or png, webp); KEY.input.jpg where there is none
KEY.cls         the class: its number or its name
KEY.json        `label` or `labels` (numbers or names), `captions` or `caption`, `boxes` ([[x0, y0, x1, y1], ...] in
                pixels), `box_labels` and, as in COCO, `iscrowd` (0 or 1 for each box)
KEY.txt         one caption a line
KEY.mask.png    one class a pixel (8 bit), 255 where a pixel is not measured

Captions are those that `clipmine embed` reads (`index.corpus.captions`).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from customize.clip.evaluate.datasets.content import content_of
from customize.clip.evaluate.datasets.dataset import Dataset, Example, opener
from index import files
from index.corpus.captions import TextRejected, decode_text, find_captions, parse_sidecar
from index.corpus.names import IMAGE_SUFFIXES, split_name
from index.corpus.tars import TarBroken, iter_members
from index.errors import BadInput

__all__ = ["open_tars"]

_MASK = "mask.png"
_ANNOTATIONS = ("cls", "json", "txt", "caption", _MASK)
_MAX_MEMBER = 64 << 20  # bytes; index.corpus.image_decoding bounds an image the same way


class _Classes(NamedTuple):
    """How many classes there are, and their numbers by name: None for a name of two of them, as ImageNet's "crane"."""

    size: int
    numbers: Mapping[str, int | None]


def open_tars(name: str, tars: Sequence[str], classes: Sequence[str] | None) -> Dataset:
    """The dataset of the samples in `tars`, in their order. Without `classes`, labels must be numbers.

    Reading it raises BadInput for a tar that is cut off, a sample without an image, and a label outside `classes`.
    """
    names = tuple(classes or ())
    uses = Counter(names)
    known = _Classes(len(names), {text: n if uses[text] == 1 else None for n, text in enumerate(names)})

    def read() -> Iterator[Example]:
        for tar in tars:
            for key, members in _samples(tar):
                yield _example(tar, key, members, known)

    def content() -> list[str]:
        folders: dict[str, list[str]] = {}
        for tar in tars:
            folder, slash, file = tar.rpartition("/")
            folders.setdefault(folder + slash or ".", []).append(file)
        return [content_of(folder, own) for folder, own in folders.items()]

    return Dataset(name, names, read, content)


def _samples(tar: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    def wanted(member: str, size: int) -> bool:
        parts = split_name(member)
        return parts is not None and (_is_image(parts[1]) or parts[1] in _ANNOTATIONS) and size <= _MAX_MEMBER

    key: str | None = None
    members: dict[str, bytes] = {}
    with files.open_file(tar, buffering=1 << 20) as stream:
        try:
            for member in iter_members(stream, wanted):
                parts = split_name(member.name)
                if parts is None or member.data is None:
                    continue
                if parts[0] != key:
                    if key is not None:
                        yield key, members
                    key, members = parts[0], {}
                members[parts[1]] = member.data
        except TarBroken as broken:
            raise BadInput(f"{tar}: cannot be read to its end ({broken.reason}); write it again") from broken
    if key is not None:
        yield key, members


def _is_image(suffix: str) -> bool:
    return suffix.rpartition(".")[2] in IMAGE_SUFFIXES and suffix != _MASK


def _image(members: Mapping[str, bytes]) -> bytes | None:
    """The image: KEY.jpg before KEY.input.jpg."""
    images = sorted(filter(_is_image, members), key=lambda suffix: "." in suffix)
    return members[images[0]] if images else None


def _example(tar: str, key: str, members: Mapping[str, bytes], classes: _Classes) -> Example:
    where = f"{tar}, {key}"
    image = _image(members)
    if image is None:
        raise BadInput(f"{where}: has no image; a sample is KEY.jpg (or png, webp) with KEY.cls or KEY.json")
    text = members.get("txt", members.get("caption"))
    try:
        about: dict[str, Any] = parse_sidecar(members.get("json"))
        captions = find_captions(None if text is None else decode_text(text), about)
        label = decode_text(members["cls"]).strip() if "cls" in members else None
    except TextRejected as error:
        raise BadInput(f"{where}: its json, cls or txt is not UTF-8 or not JSON; write it again") from error
    if captions.unread:
        raise BadInput(f"{where}: its caption is neither a text nor a list or an object of texts; write it again")
    labels = about.get("labels", about.get("label", [])) if label is None else [label]
    mask = members.get(_MASK)
    boxes, box_labels, crowd = _boxes(where, about, classes)
    return Example(
        key=key,
        open=opener(where, lambda: image),
        labels=_class_numbers(where, labels, classes),
        captions=captions.all,
        mask=None if mask is None else lambda: _mask(where, mask),
        boxes=boxes,
        box_labels=box_labels,
        box_crowd=crowd,
    )


def _boxes(
    where: str, about: Mapping[str, Any], classes: _Classes
) -> tuple[npt.NDArray[np.float32], tuple[int, ...], tuple[bool, ...]]:
    """A sample's boxes [n, 4] with their classes, and which are crowds."""
    given = about.get("boxes") or []
    try:
        boxes = np.asarray(given, np.float32).reshape(len(given), 4)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where}: its `boxes` are no list of [x0, y0, x1, y1]; write it again") from error
    labels = _class_numbers(where, about.get("box_labels", []), classes)
    crowd = about.get("iscrowd") or []
    if not isinstance(crowd, list) or any(one not in (0, 1) for one in crowd):
        raise BadInput(f"{where}: its `iscrowd` is no list of 0 and 1; write it again")
    # A task without classes, such as retrieval, ignores their names.
    if classes.size and len(labels) != len(boxes):
        raise BadInput(f"{where}: has {len(boxes)} boxes and {len(labels)} `box_labels`; give each box its class")
    if crowd and len(crowd) != len(boxes):
        raise BadInput(f"{where}: has {len(boxes)} boxes and {len(crowd)} values of `iscrowd`; give each box its own")
    return boxes, labels, tuple(map(bool, crowd))


def _class_numbers(where: str, labels: Any, classes: _Classes) -> tuple[int, ...]:
    found = []
    for label in labels if isinstance(labels, list) else [labels]:
        text = str(label)
        if text in classes.numbers:
            number = classes.numbers[text]
            if number is None:
                raise BadInput(f"{where}: its label {text!r} is the name of two classes; give the class's number")
            found.append(number)
        elif text.isdigit() and (not classes.size or int(text) < classes.size):
            found.append(int(text))
        elif classes.size:  # a task without classes, such as retrieval, ignores class names
            raise BadInput(f"{where}: its label {text!r} is none of the {classes.size} classes; check the task's list")
    return tuple(found)


def _mask(where: str, data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        if image.mode not in ("L", "P"):
            raise BadInput(f"{where}: its mask is a {image.mode} image; save classes as 8-bit gray or palette PNG")
        return np.array(image, np.uint8)
