"""Image-text retrieval: recall at 1, 5 and 10, from images to texts and from texts to images (thesis table 2.3).

An image may have several captions (five in COCO and Flickr30K): an image is right with any of its own captions, a
caption with its image. All pairs are compared (exact search), in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from customize.clip.evaluate.datasets.dataset import Dataset, Example
from customize.clip.evaluate.features import EvalModel, Vectors, image_features, text_features, unit
from index.errors import BadInput

__all__ = ["RetrievalRecall", "recall", "retrieval_recall"]

AT = (1, 5, 10)
CAPTIONS = 5  # COCO's and Flickr30K's protocol; a few images have more, of which the first five count
_BLOCK = 1024  # queries at once: 1,024 x 25,000 float32 similarities take 100 MB


@dataclass(frozen=True)
class RetrievalRecall:
    """Recall at each k, as shares from 0 to 1, and how many images and texts were compared."""

    image_to_text: dict[int, float]
    text_to_image: dict[int, float]
    images: int
    texts: int


def recall(
    images: Vectors, texts: Vectors, image_of: npt.NDArray[np.int64]
) -> tuple[dict[int, float], dict[int, float]]:
    """Recall from images to texts and from texts to images, as {k: share} each.

    A wrong answer with the same similarity as the right one ranks before it, so a model that gives equal vectors
    scores 0.

    Args:
        images: float32 [n, d], rows of unit length.
        texts: float32 [m, d], rows of unit length.
        image_of: int64 [m], the image of each text.

    Raises:
        BadInput: an image has no text.
    """
    count = len(images)
    best = np.full(count, -np.inf, np.float32)  # similarity of each image's best own text
    t2i_rank = np.empty(len(texts), np.int64)
    for start in range(0, len(texts), _BLOCK):
        block = slice(start, start + _BLOCK)
        similarity = texts[block] @ images.T
        own = similarity[np.arange(len(similarity)), image_of[block]]
        np.maximum.at(best, image_of[block], own)
        t2i_rank[block] = (similarity >= own[:, None]).sum(1) - 1
    if np.isneginf(best).any():
        raise BadInput("an image without captions cannot be retrieved; leave it out")
    i2t_rank = np.zeros(count, np.int64)
    for start in range(0, len(texts), _BLOCK):
        block = slice(start, start + _BLOCK)
        others = image_of[block][:, None] != np.arange(count)
        i2t_rank += ((texts[block] @ images.T >= best) & others).sum(0)
    return (
        {k: float((i2t_rank < k).mean()) for k in AT},
        {k: float((t2i_rank < k).mean()) for k in AT},
    )


def retrieval_recall(
    model: EvalModel, dataset: Dataset, *, captions: int = CAPTIONS, batch_size: int = 64
) -> RetrievalRecall:
    """Measure a dataset whose images have captions; `captions` is how many of each image count.

    Raises BadInput for an image without captions.
    """
    texts: list[str] = []
    image_of: list[int] = []

    def noted() -> Iterator[Example]:
        for number, example in enumerate(dataset):
            if not example.captions:
                raise BadInput(f"{dataset.name}: {example.key} has no caption; retrieval needs one an image")
            texts.extend(example.captions[:captions])
            image_of.extend([number] * min(captions, len(example.captions)))
            yield example

    images = image_features(model, noted(), batch_size)
    i2t, t2i = recall(unit(images.vectors), unit(text_features(model, texts)), np.array(image_of, np.int64))
    return RetrievalRecall(i2t, t2i, len(images.keys), len(texts))
