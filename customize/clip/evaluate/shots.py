"""Few-shot training sets: k images a class drawn by seed, and their split into training and validation images.

ELEVATER's protocol (arXiv 2204.08790, toolkit `feature.construct_dataloader`): 5, 20, 50 or all images a class and
three seeds. A fifth of the images validates the hyper-parameters; the final training uses all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from index.errors import BadInput

__all__ = ["draw_share", "draw_shots", "split_validation"]

VALIDATION_SHARE = 0.2

Rows = npt.NDArray[np.int64]


def draw_shots(labels: Sequence[tuple[int, ...]], shots: int | None, seed: int) -> Rows:
    """Draw `shots` images a class: their sorted positions; None: all images.

    An image with several labels counts for each of them, so a class may get more images. A class that has fewer images
    gets all of them. Raises BadInput when no image has a label.
    """
    if shots is not None and shots < 1:
        raise BadInput(f"{shots} shots: take at least 1 image a class")
    if not any(labels):
        raise BadInput("the training set's images have no labels to learn from")
    if shots is None:
        return np.arange(len(labels), dtype=np.int64)
    missing: dict[int, int] = {label: shots for several in labels for label in several}
    chosen = []
    for row in np.random.default_rng(seed).permutation(len(labels)):
        several = labels[row]
        if any(missing[label] > 0 for label in several):
            chosen.append(int(row))
            for label in several:
                missing[label] -= 1
    return np.array(sorted(chosen), np.int64)


def draw_share(labels: Sequence[tuple[int, ...]], share: float, seed: int) -> Rows:
    """Draw a share of each class's images, at least one image a class: their sorted positions.

    ImageNet's 1% of labels is `draw_share(labels, 0.01, 0)`. Of several labels the first counts. Raises BadInput for
    a share that is not above 0 and at most 1, and when no image has a label.
    """
    if not 0 < share <= 1:
        raise BadInput(f"a share of {share} of the labels: give more than 0 and at most 1 (0.01 is one percent)")
    rng = np.random.default_rng(seed)
    first = np.array([several[0] if several else -1 for several in labels], np.int64)
    chosen = []
    for label in np.unique(first[first >= 0]):
        own = np.flatnonzero(first == label)
        chosen.append(rng.choice(own, max(1, round(share * len(own))), replace=False))
    if not chosen:
        raise BadInput("the training set's images have no labels to learn from")
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def split_validation(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Split positions into (training, validation): a random fifth validates, and neither part is empty.

    Raises BadInput for a single image.
    """
    if len(rows) < 2:
        raise BadInput("one training image cannot be split to choose hyper-parameters; take more shots")
    shuffled = np.random.default_rng(seed).permutation(rows)
    held = min(max(1, round(VALIDATION_SHARE * len(shuffled))), len(shuffled) - 1)
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])
