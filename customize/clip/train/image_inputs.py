"""The input of the image tower at each step: pixels, cached activations of its frozen blocks, or image embeddings.

Without augmentation, a tower that is locked as a whole gives an image the same vector at every step, so the store's
image embeddings replace it; a tower whose first blocks are frozen starts from their cached output
(`customize.clip.train.prefix_cache`). Each kind of input has two methods: `load` reads one image ahead of the step, and
`features` computes the features of a batch within the step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from customize.clip.train.augment import seed_sample
from customize.clip.train.pairs import Pairs
from index.corpus.image_decoding import ImageRejected, decode_image
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore

__all__ = ["ImageInputs", "Pixels", "StoreImages", "Transform", "decode_row"]

Transform = Callable[[Image.Image], torch.Tensor]

# An image that cannot be decoded is replaced by the next pair's. After so many in a row the data must be wrong.
MOST_BROKEN = 16


class ImageInputs(Protocol):
    """A kind of input.

    Attributes:
        kind: what is loaded, in a few words for the summary.
        decodes: whether loading decodes images, which is worth processes of its own.
    """

    kind: str
    decodes: bool

    def load(self, row: int, epoch: int) -> tuple[int, torch.Tensor]:
        """The row that was used (another one where the image cannot be decoded), and its input."""

    def features(self, model: Any, inputs: torch.Tensor) -> torch.Tensor:
        """Image features [n, d], not normalised, of stacked inputs."""


class Pixels:
    """Decoded and transformed images, float32 [3, height, width].

    seed: of the transform's augmentation; None where the transform is not random.
    """

    kind = "pixels"
    decodes = True

    def __init__(self, pairs: Pairs, transform: Transform, seed: int | None) -> None:
        self._pairs, self._transform, self._seed = pairs, transform, seed

    @property
    def random(self) -> bool:
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
    """The store's image embeddings, float32 [d], for a tower that is locked as a whole."""

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
    """The first row from `row` on whose image can be decoded, and that image.

    Raises BadInput when many images in a row cannot be decoded.
    """
    for tried in range(MOST_BROKEN):
        used = (row + tried) % len(pairs)
        try:
            return used, decode_image(pairs.image(used))
        except ImageRejected as rejected:
            reason = rejected.reason
    raise BadInput(
        f"{pairs.root}: {MOST_BROKEN} images in a row cannot be decoded (from {pairs.keys([row])[0]} on: {reason})"
    )
