"""A published list of training images, such as SimCLR's 1% of ImageNet: a file name a line, with its class or without.

    n02093859_3591.JPEG                  or n02093859/n02093859_3591.JPEG

Names may have another suffix than the files, or none, as the keys of tars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from customize.clip.evaluate.shots import Rows
from index.corpus.names import IMAGE_SUFFIXES
from index.errors import BadInput
from retrieval.templates import read_text

__all__ = ["listed_rows", "read_train_list"]


def read_train_list(path: str) -> tuple[str, ...]:
    """The names of a list, each once. Raises BadInput where the file cannot be read, or names nothing."""
    lines = (line.strip() for line in read_text(path).splitlines())
    names = tuple(dict.fromkeys(line.removeprefix("./") for line in lines if line and not line.startswith("#")))
    if not names:
        raise BadInput(f"{path}: names no image; a list has one file name a line")
    return names


def listed_rows(keys: Sequence[str], names: Sequence[str], path: str) -> Rows:
    """The positions in `keys` (`Example.key`) of the images that the list at `path` names, sorted.

    Raises BadInput for names that are no image of the set, or that are several.
    """
    whole = [_bare(key) for key in keys]
    by_file: dict[str, list[int]] = {}
    for row, key in enumerate(whole):
        by_file.setdefault(key.rpartition("/")[2], []).append(row)
    rows: set[int] = set()
    missing: list[str] = []
    for name in names:
        bare = _bare(name)
        found = by_file.get(bare.rpartition("/")[2], [])
        if "/" in bare:
            found = [row for row in found if f"/{whole[row]}".endswith(f"/{bare}")]
        if len(found) > 1:
            raise BadInput(
                f"{path}: {name} is the name of {len(found)} images, such as {keys[found[0]]}; add its class"
            )
        rows.update(found)
        missing += [] if found else [name]
    if missing:
        raise BadInput(
            f"{path}: {len(missing)} of {len(names)} names are no image of the training set, such as {missing[0]} (its "
            f"images are called {keys[0] if keys else 'nothing'}, ...); give the list of this set"
        )
    return np.array(sorted(rows), np.int64)


def _bare(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix.lower() in IMAGE_SUFFIXES else name
