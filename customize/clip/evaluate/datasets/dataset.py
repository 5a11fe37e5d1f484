"""Evaluation sets: examples that open their image when asked, from class folders, webdataset tars or Hugging Face.

    test = open_dataset("imagenet/val", classes=names, folders="sorted")
    test = open_dataset("tars/", classes=names)                      # KEY.jpg with KEY.cls or KEY.json
    test = open_dataset("hf:uoft-cs/cifar10", split="test")

A dataset can be read several times and is never held in memory. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from index import files
from index.corpus.images import ImageRejected, decode_image
from index.errors import BadInput

__all__ = ["IGNORED", "Dataset", "Example", "in_memory", "open_dataset", "opener"]

IGNORED = 255  # a mask's pixels that count nowhere: PASCAL VOC's "void"
FolderOrder = Literal["names", "sorted"]


@dataclass(frozen=True)
class Example:
    """One image with what is known of it; what a dataset does not tell is empty.

    Attributes:
        key: its name in the dataset, for messages and lists of mistakes.
        open: decodes the image; BadInput names an image that cannot be decoded.
        labels: its class as a position in the dataset's classes; several where the dataset is multi-label.
        captions: texts that describe it.
        mask: opens uint8 [h, w] of classes, IGNORED where none counts.
        boxes: float32 [n, 4], x0 y0 x1 y1 in pixels of the image, with `box_labels`.
    """

    key: str
    open: Callable[[], Image.Image]
    labels: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    mask: Callable[[], npt.NDArray[np.uint8]] | None = None
    boxes: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))
    box_labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Named examples that can be read again and again, and the classes that their labels point to."""

    name: str
    classes: tuple[str, ...]
    read: Callable[[], Iterator[Example]]

    def __iter__(self) -> Iterator[Example]:
        return self.read()


def in_memory(name: str, classes: Sequence[str], examples: Sequence[Example]) -> Dataset:
    """A dataset of examples that are there already."""
    kept = tuple(examples)
    return Dataset(name, tuple(classes), lambda: iter(kept))


def open_dataset(
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    folders: FolderOrder = "names",
    columns: dict[str, str] | None = None,
) -> Dataset:
    """Open what `source` names.

    source: a folder of class folders, a folder of tars, one tar, or `hf:NAME[:CONFIG]` (Hugging Face; a local folder
        that `save_to_disk` wrote works as well). A folder `source/split` is preferred when it is there.
    classes: the class names, in the labels' order; without them the dataset's own.
    folders: how class folders meet `classes`: by their names, or "sorted": in the order of the sorted folder names,
        as ImageNet's WordNet numbers do.
    columns: Hugging Face columns that play `image`, `label`, `captions`, where their names tell nothing.
    Raises BadInput when there is nothing to read, and when labels and classes do not fit.
    """
    text = os.fspath(source)
    if text.startswith("hf:"):
        from customize.clip.evaluate.datasets.hub import open_hub

        return open_hub(text.removeprefix("hf:"), split, classes, columns or {})
    if split and files.exists(files.join(text, split)):
        text = files.join(text, split)
    if not files.exists(text):
        raise BadInput(f"{text}: no such dataset; give a folder of class folders, of tars, or hf:NAME")
    from customize.clip.evaluate.datasets.class_folders import open_class_folders
    from customize.clip.evaluate.datasets.tars import open_tars
    from index.corpus.folder import list_folder

    if text.endswith(".tar"):
        return open_tars(text, [text], classes)
    if files.exists(files.join(text, "state.json")) or files.exists(files.join(text, "dataset_dict.json")):
        from customize.clip.evaluate.datasets.hub import open_hub

        return open_hub(text, split, classes, columns or {})
    listing = list_folder(text)
    if listing.tars:
        return open_tars(text, [files.join(text, name) for name in sorted(listing.tars)], classes)
    if listing.images:
        return open_class_folders(text, sorted(listing.images), classes, folders)
    raise BadInput(f"{text}: holds neither images nor tars; an evaluation set is one folder a class, or tars")


def opener(key: str, data: Callable[[], bytes]) -> Callable[[], Image.Image]:
    """An example's `open` from a function that brings the image's bytes."""

    def opened() -> Image.Image:
        try:
            return decode_image(data())
        except ImageRejected as rejected:
            raise BadInput(f"{key}: its image cannot be used ({rejected.reason}); replace or remove it") from rejected

    return opened
