"""Opens an evaluation set and finds out its form: class folders, webdataset tars, or a Hugging Face dataset.

test = open_dataset("imagenet/val", classes=names, folders="sorted")
test = open_dataset("tars/", classes=names)                      # KEY.jpg with KEY.cls or KEY.json
test = open_dataset("hf:uoft-cs/cifar10", split="test")
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from customize.clip.evaluate.datasets.class_folders import FolderOrder, open_class_folders
from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.datasets.hub import open_hub
from customize.clip.evaluate.datasets.tars import open_tars
from index import files
from index.corpus.image_folder import list_folder
from index.errors import BadInput

__all__ = ["open_dataset"]


def open_dataset(
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    folders: FolderOrder = "names",
    columns: dict[str, str] | None = None,
) -> Dataset:
    """Open the dataset that `source` names.

    Args:
        source: a folder of class folders, a folder of tars, one tar, or `hf:NAME[:CONFIG]` (Hugging Face; a local
            folder that `save_to_disk` wrote works as well).
        split: a folder `source/split` is opened where there is one; of a Hugging Face dataset its split.
        classes: the class names, in the order of the labels; by default the dataset's own.
        folders: how class folders belong to `classes`: "names", by their names, or "sorted", in the order of the
            sorted folder names, as ImageNet's WordNet numbers do.
        columns: Hugging Face columns for `image`, `label` and `captions`, where their own names do not tell.

    Raises:
        BadInput: there is nothing to read, or labels and classes do not fit.
        MissingDependency: a Hugging Face dataset without the package `datasets`.
    """
    text = os.fspath(source)
    if text.startswith("hf:"):
        return open_hub(text.removeprefix("hf:"), split, classes, columns or {})
    if split and files.exists(files.join(text, split)):
        text = files.join(text, split)
    if not files.exists(text):
        raise BadInput(f"{text}: no such dataset; give a folder of class folders, of tars, or hf:NAME")
    if text.endswith(".tar"):
        return open_tars(text, [text], classes)
    if files.exists(files.join(text, "state.json")) or files.exists(files.join(text, "dataset_dict.json")):
        return open_hub(text, split, classes, columns or {})
    listing = list_folder(text)
    if listing.tars:
        return open_tars(text, [files.join(text, name) for name in sorted(listing.tars)], classes)
    if listing.images:
        return open_class_folders(text, sorted(listing.images), classes, folders)
    raise BadInput(f"{text}: holds neither images nor tars; an evaluation set is one folder a class, or tars")
