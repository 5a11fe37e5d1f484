"""Evaluation sets from Hugging Face: by name, or a folder that `save_to_disk` wrote. Needs the package `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from customize.clip.evaluate.datasets.content import content_of
from customize.clip.evaluate.datasets.dataset import Dataset, Example, opener
from index.errors import BadInput, MissingDependency
from index.files import read_bytes

__all__ = ["open_hub"]

_LABELS = ("label", "labels", "fine_label", "class")  # names of the label column in public image sets
_CAPTIONS = ("captions", "caption", "sentences", "text")


def open_hub(name: str, split: str | None, classes: Sequence[str] | None, columns: Mapping[str, str]) -> Dataset:
    """Open the dataset `NAME[:CONFIG]`, which is streamed, or a local folder.

    Args:
        columns: column names for `image`, `label` and `captions`, where the dataset's own do not tell.

    Raises:
        MissingDependency: the package `datasets` is not installed.
        BadInput: no such dataset or split, no image column, or another number of classes than `classes`.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets", "a Hugging Face dataset", extra="datasets") from error
    table, version = _load(datasets, name, split)
    features = table.features or {}
    image = columns.get("image") or next((key for key, kind in features.items() if type(kind).__name__ == "Image"), "")
    if image not in features:
        raise BadInput(f"hf:{name}: has no image column (its columns are {', '.join(features)}); name it in `columns`")
    label = columns.get("label") or next((key for key in _LABELS if key in features), None)
    captions = columns.get("captions") or next((key for key in _CAPTIONS if key in features), None)
    own = tuple(getattr(features.get(label), "names", None) or ())
    if classes is not None and own and len(own) != len(classes):
        raise BadInput(f"hf:{name}: has {len(own)} classes, the list {len(classes)}; use the task of this dataset")
    # The encoded bytes, since `opener` bounds the size of an image before decoding it.
    table = table.cast_column(image, datasets.Image(decode=False))

    def read() -> Iterator[Example]:
        for number, row in enumerate(table):
            key = f"hf:{name}, row {number}"
            yield Example(
                key,
                opener(key, lambda cell=row[image]: _image_bytes(cell)),  # type: ignore[misc]
                tuple(_as_list(row.get(label))) if label else (),
                tuple(str(text) for text in _as_list(row.get(captions))) if captions else (),
            )

    # The whole folder, or the hub's commit, in which both splits and columns lie.
    content = [version, split, image, label, captions]
    return Dataset(f"hf:{name}", tuple(classes) if classes is not None else own, read, lambda: content)


def _load(datasets: Any, name: str, split: str | None) -> tuple[Any, str]:
    """The table, and what tells the data set's content from others."""
    try:
        if os.path.isdir(name):  # noqa: PTH112
            table, version = datasets.load_from_disk(name), content_of(name)
        else:
            path, _, config = name.partition(":")
            builder = datasets.load_dataset_builder(path, config or None)
            table, version = builder.as_streaming_dataset(split=split), str(builder.hash)
    except (FileNotFoundError, ValueError, ConnectionError, OSError) as error:
        raise BadInput(f"hf:{name}: cannot be loaded: {str(error).splitlines()[0]}") from error
    if not isinstance(table, dict):
        return table, version
    if split not in table:
        raise BadInput(f"hf:{name}: has the splits {', '.join(table)}; name one of them")
    return table[split], version


def _as_list(cell: Any) -> list[Any]:
    if cell is None:
        return []
    return list(cell) if isinstance(cell, (list, tuple)) else [cell]


def _image_bytes(cell: Mapping[str, Any]) -> bytes:
    data = cell.get("bytes")
    return read_bytes(str(cell["path"])) if data is None else bytes(data)
