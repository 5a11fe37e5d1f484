"""The types of an evaluation set: a dataset that can be read several times, and its examples.

An example decodes its image only when `open` is called, so a dataset is never held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from index.corpus.image_decoding import ImageRejected, decode_image
from index.errors import BadInput

__all__ = ["IGNORED", "Dataset", "Example", "in_memory", "opener"]

IGNORED = 255  # the value of mask pixels that are not measured: PASCAL VOC's "void"


@dataclass(frozen=True)
class Example:
    """One image and its annotations; those that the dataset does not have are empty.

    Attributes:
        key: its name in the dataset, for messages and lists of mistakes.
        open: decodes the image; raises BadInput, which names the image, when it cannot be decoded.
        labels: its class as a position in the dataset's classes; several where the dataset is multi-label.
        captions: texts that describe it.
        mask: opens uint8 [h, w] of classes, IGNORED where a pixel is not measured.
        boxes: float32 [n, 4], x0 y0 x1 y1 in pixels of the image.
        box_labels: the class of each box.
        box_crowd: which boxes are crowds, COCO's `iscrowd`; empty where none is.
    """

    key: str
    open: Callable[[], Image.Image]
    labels: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    mask: Callable[[], npt.NDArray[np.uint8]] | None = None
    boxes: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))
    box_labels: tuple[int, ...] = ()
    box_crowd: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Examples with the names of their classes; iterating it again reads it again.

    Iterating raises BadInput at the end where there was no example.

    Attributes:
        content: what tells these examples from others without reading them, such as sizes and times of the files.
    """

    name: str
    classes: tuple[str, ...]
    read: Callable[[], Iterator[Example]]
    content: Callable[[], Any] = lambda: None

    def __iter__(self) -> Iterator[Example]:
        empty = True
        for example in self.read():
            empty = False
            yield example
        if empty:
            raise BadInput(f"{self.name}: has no images; check the folder and the split")


def in_memory(name: str, classes: Sequence[str], examples: Sequence[Example]) -> Dataset:
    """A dataset of the given examples."""
    kept = tuple(examples)
    return Dataset(name, tuple(classes), lambda: iter(kept))


def opener(key: str, read: Callable[[], bytes]) -> Callable[[], Image.Image]:
    """Make an example's `open` from `read`, which returns the encoded image."""

    def opened() -> Image.Image:
        try:
            return decode_image(read())
        except ImageRejected as rejected:
            raise BadInput(f"{key}: its image cannot be used ({rejected.reason}); replace or remove it") from rejected

    return opened
