"""What goes into the image tower at each step: pixels, kept activations of its frozen blocks, or finished features.

A tower that is locked as a whole gives an image the same vector at every step: with augmentation off, the store's image
embeddings stand for it. A tower whose first blocks are locked is entered behind them (`customize.clip.train.prefix_cache`).
Each kind has the same two halves: `load`, which runs ahead of the step, and `features`, which is the step's own work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from customize.clip.train.augment import seed_sample
from customize.clip.train.pairs import Pairs
from index.corpus.images import ImageRejected, decode_image
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore

__all__ = ["ImageInputs", "Pixels", "StoreImages", "decode_row"]

Rows = npt.NDArray[np.int64]
Transform = Callable[[Image.Image], torch.Tensor]

# An image that cannot be decoded gives its place to the next pair. So many in a row are no accident.
MOST_BROKEN = 16


class ImageInputs(Protocol):
    """`kind` says in a few words what is loaded; `decodes` whether loading costs enough to be worth processes."""

    kind: str
    decodes: bool

    def load(self, row: int, epoch: int) -> tuple[int, torch.Tensor]:
        """The row that was used (another one, where an image is broken), and its input."""

    def features(self, model: Any, inputs: torch.Tensor) -> torch.Tensor:
        """Image features [n, d], not normalized, of stacked inputs."""


class Pixels:
    """Decoded and transformed images, float32 [3, height, width]; `seed` is None where the transform draws nothing."""

    kind = "pixels"
    decodes = True

    def __init__(self, pairs: Pairs, transform: Transform, seed: int | None) -> None:
        self._pairs, self._transform, self._seed = pairs, transform, seed

    @property
    def draws(self) -> bool:
        """Whether the transform draws from the global random generators, so that it must not run in threads."""
        return self._seed is not None

    def load(self, row: int, epoch: int) -> tuple[int, torch.Tensor]:
        used, image = decode_row(self._pairs, row)
        if self._seed is not None:
            seed_sample(self._seed, epoch, row)
        return used, self._transform(image)

    def features(self, model: Any, inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = model.encode_image(inputs)
        return features


class StoreImages:
    """The store's image embeddings, for a tower that is locked as a whole."""

    kind = "the store's image embeddings"
    decodes = False

    def __init__(self, pairs: Pairs, store: EmbeddingStore) -> None:
        assert pairs.row_ids is not None
        self._row_ids, self._store = pairs.row_ids, store

    def load(self, row: int, epoch: int) -> tuple[int, torch.Tensor]:
        vector = self._store.gather("image", self._row_ids[row : row + 1])[0]
        return row, torch.from_numpy(np.asarray(vector, dtype=np.float32))

    def features(self, model: Any, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


def decode_row(pairs: Pairs, row: int) -> tuple[int, Image.Image]:
    """The image of `row`, or of the next row whose image can be decoded; BadInput when many in a row cannot."""
    for tried in range(MOST_BROKEN):
        used = (row + tried) % len(pairs)
        try:
            return used, decode_image(pairs.image(used))
        except ImageRejected as rejected:
            reason = rejected.reason
    raise BadInput(
        f"{pairs.root}: {MOST_BROKEN} images in a row cannot be decoded (from {pairs.keys([row])[0]} on: {reason})"
    )
