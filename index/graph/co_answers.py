"""Images that answer the same captions: for each image, those that are most often among the answers with it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["CoAnswers"]

Ids = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]

# Captions of one image that are counted. Some images answer very many captions ("hubs"); the rest of theirs adds time.
_CAPTIONS = 256
# Pairs that are sorted at once: 64 MB.
_PAIRS = 8_000_000


class CoAnswers:
    """The answers of captions, the other way round: the captions of each image.

    answers: int32 [captions, k], image numbers below `images`, best first; -1 where missing.
    """

    def __init__(self, answers: Numbers, images: int) -> None:
        self._answers, self._images = answers, images
        captions, k = answers.shape
        flat = answers.ravel()
        # Of an image's captions, those that it answers best come first.
        by_rank = np.arange(captions * k, dtype=np.int64).reshape(captions, k).T.ravel()
        order = by_rank[np.argsort(flat[by_rank], kind="stable")]
        self._starts = np.searchsorted(flat[order], np.arange(images + 1))
        self._captions = (order // k).astype(np.int32)

    def most_frequent(self, first: int, last: int, most: int) -> Numbers:
        """int32 [last - first, most]: the images that share most captions with each of first .. last - 1; else -1.

        Of images with equally many, those with lower numbers.
        """
        found = np.full((last - first, most), -1, np.int32)
        counts = np.minimum(self._starts[first + 1 : last + 1] - self._starts[first:last], _CAPTIONS)
        step = max(1, _PAIRS // (_CAPTIONS * self._answers.shape[1]))
        for start in range(0, last - first, step):
            some = slice(start, min(start + step, last - first))
            found[some] = self._of(first + start, counts[some], most)
        return found

    def _of(self, first: int, counts: Ids, most: int) -> Numbers:
        found = np.full((len(counts), most), -1, np.int32)
        image = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
        captions = self._captions[self._starts[first + image] + within]
        others = self._answers[captions].astype(np.int64)
        keys = (image[:, None] * self._images + others)[(others >= 0) & (others != first + image[:, None])]
        pairs, shared = np.unique(keys, return_counts=True)
        image, other = np.divmod(pairs, self._images)
        order = np.lexsort((other, -shared, image))
        image, other = image[order], other[order]
        rank = np.arange(len(image)) - np.searchsorted(image, image)
        image, other, rank = image[rank < most], other[rank < most], rank[rank < most]
        found[image, rank] = other
        return found
