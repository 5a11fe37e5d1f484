"""The batches of a training: which images a step has, mirrored or not, follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.detect.coco_boxes import AnnotatedImage, Annotations
from customize.clip.detect.images import OpenImage
from customize.clip.train.schedule import BatchOrder
from index.errors import BadInput
from index.read_ahead import read_ahead

__all__ = ["DetectBatches", "Target", "image_pixels"]

Target = dict[str, torch.Tensor]
Batch = tuple[list[torch.Tensor], list[Target]]


class DetectBatches:
    """Images with their boxes, in batches."""

    def __init__(
        self, annotations: Annotations, opened: OpenImage, batch_size: int, seed: int, flip: bool = True
    ) -> None:
        count = len(annotations.images)
        if batch_size > count:
            raise BadInput(f"--batch-size {batch_size}: is more than the {count} images with boxes; use fewer")
        self.annotations, self._opened, self._seed, self._flip = annotations, opened, seed, flip
        self._order = BatchOrder(np.zeros(count, np.int64), batch_size, seed)

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """The images of a step, counted from 0; an epoch has each at most once."""
        return self._order.rows(step)

    def batch(self, step: int) -> Batch:
        """The images of a step, float32 [3, h, w] from 0 to 1, and their boxes with labels from 1."""
        mirrored = np.random.default_rng((self._seed, 1, step)).random(self._order.batch_size) < 0.5
        pixels, targets = [], []
        for row, turn in zip(self.rows(step), mirrored & self._flip, strict=True):
            image = self.annotations.images[row]
            own, boxes = image_pixels(image, self._opened), torch.from_numpy(image.truth.boxes)
            if turn:
                own = own.flip(2)
                boxes = boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([image.size[0], 0] * 2)
            pixels.append(own)
            targets.append({"boxes": boxes, "labels": torch.from_numpy(image.truth.labels) + 1})
        return pixels, targets

    def steps(self, first: int, last: int) -> Iterator[tuple[int, Batch]]:
        """The batches of the steps from `first` to before `last`; the next two are read while the caller works."""
        with closing(read_ahead(((step, self.batch(step)) for step in range(first, last)), 2)) as ready:
            yield from ready


def image_pixels(image: AnnotatedImage, opened: OpenImage) -> torch.Tensor:
    """The pixels of an image, float32 [3, h, w] from 0 to 1.

    Raises BadInput where its size is not the annotated one.
    """
    picture = opened(image.name).convert("RGB")
    if picture.size != image.size:
        said, found = (f"{size[0]} x {size[1]}" for size in (image.size, picture.size))
        raise BadInput(
            f"{image.name}: has {found} pixels, and the annotations say {said}; boxes would be misplaced, so give the "
            "images that were annotated"
        )
    data = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return data.view(picture.height, picture.width, 3).permute(2, 0, 1).float() / 255
