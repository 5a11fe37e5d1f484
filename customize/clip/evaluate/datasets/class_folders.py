"""One folder a class: FOLDER/CLASS/any/depth/image.jpg. Knows no tars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from customize.clip.evaluate.datasets.dataset import Dataset, Example, FolderOrder, opener
from index import files
from index.errors import BadInput

__all__ = ["open_class_folders"]


def open_class_folders(
    root: str, images: Sequence[str], classes: Sequence[str] | None, folders: FolderOrder
) -> Dataset:
    """The dataset of `images`, paths relative to `root` whose first part is their class's folder."""
    loose = [path for path in images if "/" not in path]
    if loose:
        raise BadInput(f"{root}: {loose[0]} lies beside the class folders; put every image into its class's folder")
    counts = Counter(path.split("/", 1)[0] for path in images)
    found = sorted(counts)
    names = tuple(classes) if classes is not None else tuple(found)
    place = _sorted_order(root, found, names) if folders == "sorted" else _by_name(root, found, names)

    def read() -> Iterator[Example]:
        for path in images:
            label = place[path.split("/", 1)[0]]
            whole = files.join(root, path)
            yield Example(path, opener(whole, lambda whole=whole: files.read_bytes(whole)), (label,))  # type: ignore[misc]

    return Dataset(root, names, read)


def _sorted_order(root: str, found: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    if len(found) != len(names):
        raise BadInput(
            f"{root}: {len(found)} class folders with images for {len(names)} classes, which their sorted order "
            "should meet one to one; a class without images has lost its folder or its files"
        )
    return {folder: number for number, folder in enumerate(found)}


def _by_name(root: str, found: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    known = {_folded(name): number for number, name in enumerate(names)}
    strange = [folder for folder in found if _folded(folder) not in known]
    if strange:
        raise BadInput(
            f"{root}: {len(strange)} folders are no class of the list, such as {strange[0]!r}; rename them after the "
            f"class names ({', '.join(list(names)[:3])}, ...), or say `folders: sorted` in the task file"
        )
    return {folder: known[_folded(folder)] for folder in found}


def _folded(name: str) -> str:
    # File systems have no room for some names' characters: "church/abbey" lies in church_abbey.
    return " ".join(name.replace("_", " ").replace("-", " ").replace("/", " ").casefold().split())
