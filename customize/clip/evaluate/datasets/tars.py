"""Evaluation sets in webdataset tars, read as a stream. A sample's files share their KEY:

KEY.jpg         the image (or png, webp); KEY.input.jpg where there is none
KEY.cls         the class: its number or its name
KEY.json        `label` or `labels` (numbers or names), `captions` or `caption`, `boxes` ([[x0, y0, x1, y1], ...] in
                pixels) and `box_labels`
KEY.txt         one caption a line
KEY.mask.png    one class a pixel (8 bit), 255 where a pixel is not measured

Captions are those that `clipmine embed` reads (`index.corpus.captions`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

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


def open_tars(name: str, tars: Sequence[str], classes: Sequence[str] | None) -> Dataset:
    """The dataset of the samples in `tars`, in their order. Without `classes`, labels must be numbers.

    Reading it raises BadInput for a tar that is cut off, a sample without an image, and a label outside `classes`.
    """
    names = tuple(classes or ())
    numbers = {text: number for number, text in enumerate(names)}

    def read() -> Iterator[Example]:
        for tar in tars:
            for key, members in _samples(tar):
                yield _example(tar, key, members, numbers)

    return Dataset(name, names, read)


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


def _example(tar: str, key: str, members: Mapping[str, bytes], numbers: Mapping[str, int]) -> Example:
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
    return Example(
        key=key,
        open=opener(where, lambda: image),
        labels=_class_numbers(where, labels, numbers),
        captions=captions.all,
        mask=None if mask is None else lambda: _mask(where, mask),
        boxes=np.asarray(about.get("boxes") or np.empty((0, 4)), np.float32).reshape(-1, 4),
        box_labels=_class_numbers(where, about.get("box_labels", []), numbers),
    )


def _class_numbers(where: str, labels: Any, numbers: Mapping[str, int]) -> tuple[int, ...]:
    found = []
    for label in labels if isinstance(labels, list) else [labels]:
        text = str(label)
        if text in numbers:
            found.append(numbers[text])
        elif text.isdigit() and (not numbers or int(text) < len(numbers)):
            found.append(int(text))
        elif numbers:  # a task without classes, such as retrieval, ignores class names
            raise BadInput(f"{where}: its label {text!r} is none of the {len(numbers)} classes; check the task's list")
    return tuple(found)


def _mask(where: str, data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        if image.mode not in ("L", "P"):
            raise BadInput(f"{where}: its mask is a {image.mode} image; save classes as 8-bit gray or palette PNG")
        return np.array(image, np.uint8)
