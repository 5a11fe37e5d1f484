"""Evaluation sets with one folder a class: FOLDER/CLASS/any/depth/image.jpg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from customize.clip.evaluate.datasets.content import content_of
from customize.clip.evaluate.datasets.dataset import Dataset, Example, opener
from index import files
from index.errors import BadInput

__all__ = ["FolderOrder", "open_class_folders"]

FolderOrder = Literal["names", "sorted"]


def open_class_folders(
    root: str, images: Sequence[str], classes: Sequence[str] | None, folders: FolderOrder
) -> Dataset:
    """The dataset of `images`, which are paths relative to `root` that begin with the folder of their class.

    Args:
        classes: the class names, in the order of the labels; None: the folder names, sorted.
        folders: how folders belong to classes: by their names, or in sorted order.

    Raises:
        BadInput: an image outside the class folders, or folders that do not fit the classes.
    """
    loose = [path for path in images if "/" not in path]
    if loose:
        raise BadInput(f"{root}: {loose[0]} lies beside the class folders; put every image into its class's folder")
    found = sorted({_class_folder(path) for path in images})
    names = tuple(classes) if classes is not None else tuple(found)
    labels = _labels_by_order(root, found, names) if folders == "sorted" else _labels_by_name(root, found, names)

    def read() -> Iterator[Example]:
        for path in images:
            full = files.join(root, path)
            image = opener(full, lambda full=full: files.read_bytes(full))  # type: ignore[misc]
            yield Example(path, image, (labels[_class_folder(path)],))

    return Dataset(root, names, read, lambda: content_of(root, images))


def _class_folder(path: str) -> str:
    return path.split("/", 1)[0]


def _labels_by_order(root: str, found: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    if len(found) != len(names):
        raise BadInput(
            f"{root}: {len(found)} class folders with images for {len(names)} classes; in sorted order there must be "
            "one folder a class, so a folder is missing or has no images"
        )
    return {folder: number for number, folder in enumerate(found)}


def _labels_by_name(root: str, found: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    known: dict[str, int] = {}
    for number, name in enumerate(names):
        other = known.setdefault(_normalized(name), number)
        if other != number:
            raise BadInput(
                f"{root}: the classes {names[other]!r} and {name!r} (numbers {other} and {number}) would have one "
                "folder; give them different names, or say `folders: sorted` in the task file"
            )
    unknown = [folder for folder in found if _normalized(folder) not in known]
    if unknown:
        raise BadInput(
            f"{root}: {len(unknown)} folders are no class of the list, such as {unknown[0]!r}; rename them after the "
            f"class names ({', '.join(list(names)[:3])}, ...), or say `folders: sorted` in the task file"
        )
    return {folder: known[_normalized(folder)] for folder in found}


def _normalized(name: str) -> str:
    # A folder cannot have every name: "church/abbey" lies in church_abbey.
    return " ".join(name.replace("_", " ").replace("-", " ").replace("/", " ").casefold().split())
