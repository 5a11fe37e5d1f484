"""Few-shot training sets: k images a class by seed, and the split of a training set for choosing its settings.

ELEVATER's protocol (arXiv 2204.08790, toolkit `feature.construct_dataloader`): 5, 20, 50 or all images a class, three
seeds, a fifth of them for choosing the learning rate and the weight decay, all of them for the last run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from index.errors import BadInput

__all__ = ["SHOTS", "VALIDATION_SHARE", "draw_share", "draw_shots", "split_validation"]

SHOTS: tuple[int | None, ...] = (5, 20, 50, None)  # None: all of them
VALIDATION_SHARE = 0.2

Places = npt.NDArray[np.int64]


def draw_shots(labels: Sequence[tuple[int, ...]], shots: int | None, seed: int) -> Places:
    """Sorted positions of at least `shots` images a class; all images for None.

    An image of several classes counts for each of them; a class with fewer images gives all it has. BadInput when no
    image has a label.
    """
    if shots is not None and shots < 1:
        raise BadInput(f"{shots} shots: take at least 1 image a class")
    if not any(labels):
        raise BadInput("the training set's images have no labels to learn from")
    if shots is None:
        return np.arange(len(labels), dtype=np.int64)
    missing: dict[int, int] = {label: shots for several in labels for label in several}
    chosen = []
    for place in np.random.default_rng(seed).permutation(len(labels)):
        several = labels[place]
        if any(missing[label] > 0 for label in several):
            chosen.append(int(place))
            for label in several:
                missing[label] -= 1
    return np.array(sorted(chosen), np.int64)


def draw_share(labels: Sequence[tuple[int, ...]], share: float, seed: int) -> Places:
    """Sorted positions of a share of each class's images, at least one: ImageNet's 1% is `draw_share(labels, 0.01, 0)`.

    Of images with several labels, the first counts.
    """
    if not 0 < share <= 1:
        raise BadInput(f"a share of {share} of the labels: give more than 0 and at most 1 (0.01 is one percent)")
    chance = np.random.default_rng(seed)
    first = np.array([several[0] if several else -1 for several in labels], np.int64)
    chosen = []
    for label in np.unique(first[first >= 0]):
        own = np.flatnonzero(first == label)
        chosen.append(chance.choice(own, max(1, round(share * len(own))), replace=False))
    if not chosen:
        raise BadInput("the training set's images have no labels to learn from")
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def split_validation(places: Places, seed: int) -> tuple[Places, Places]:
    """(training, validation) positions: a random fifth is held back, at least one of each side.

    BadInput for a single image.
    """
    if len(places) < 2:
        raise BadInput("one training image cannot be split for choosing the settings; take more shots")
    mixed = np.random.default_rng(seed).permutation(places)
    held = min(max(1, round(VALIDATION_SHARE * len(mixed))), len(mixed) - 1)
    return np.sort(mixed[held:]), np.sort(mixed[:held])
