"""What a step takes of its images: cached features of the frozen vision tower, or pixels that it computes them from.

The cache costs one pass of the tower over the run's images, and saves one at every later use of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch

from customize.clip.train.distributed import Worker
from customize.lmm.data.sample import ImageFile
from customize.lmm.model.features import VisionFeatures, tower_features
from customize.lmm.model.image_input import image_pixels
from customize.lmm.model.load import Lmm
from index.errors import BadInput, ClipmineError

__all__ = ["CachedImages", "StepImages", "TowerImages", "choose_images"]

NOTHING = torch.empty(0, 0, 0)  # the features of no images
OnProgress = Callable[[str, int, int], None]


class StepImages(Protocol):
    """How images are loaded, ahead of the step in threads, and turned into features in the step. kind: for people."""

    kind: str

    def load(self, image: ImageFile) -> torch.Tensor:
        """The image as a tensor on the CPU. Raises ClipmineError where it cannot be used."""
        ...

    def features(self, loaded: Sequence[torch.Tensor]) -> torch.Tensor:
        """Outputs of the vision tower [images, tokens an image, width]; [0, 0, 0] without images."""
        ...


class TowerImages:
    """Runs the vision tower in every step, on pixels [3, height, width]."""

    kind = "the vision tower"

    def __init__(self, lmm: Lmm) -> None:
        self._lmm = lmm

    def load(self, image: ImageFile) -> torch.Tensor:
        file = image.read()
        try:
            return image_pixels(self._lmm.processor, file)
        except BadInput as error:
            raise ClipmineError(f"image {image.key:.100}: {error}") from error

    def features(self, loaded: Sequence[torch.Tensor]) -> torch.Tensor:
        if not loaded:
            return NOTHING
        # Cloned, since a tensor of inference mode cannot be kept for the projector's backward pass.
        return tower_features(self._lmm, torch.stack(list(loaded))).clone()


class CachedImages:
    """Reads features that were computed before the first step, [tokens, width] an image."""

    kind = "cached features"

    def __init__(self, cached: VisionFeatures, failed: dict[str, str]) -> None:
        self._cached, self._failed = cached, failed

    def load(self, image: ImageFile) -> torch.Tensor:
        if image.key not in self._cached:
            raise ClipmineError(f"image {image.key:.100}: {self._failed.get(image.key, 'has no features')}")
        found: torch.Tensor = self._cached.get([image])[0]
        return found

    def features(self, loaded: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(loaded)) if loaded else NOTHING


def choose_images(
    lmm: Lmm,
    worker: Worker,
    folder: str,
    images: Iterable[ImageFile],
    *,
    cache: bool | None,
    repeated: bool,
    bf16: bool,
    on_progress: OnProgress | None = None,
) -> StepImages:
    """Cached features where `cache` asks for them, or leaves it open and the images are `repeated` and fit the disk.

    The features of `images`, each worker's share, are computed now. bf16: store them in float16, else in float32.

    Raises:
        BadInput: `cache` asks for features that do not fit the disk.
    """
    if cache is False or (cache is None and not repeated):
        return TowerImages(lmm)
    distinct = list({image.key: image for image in images}.values())
    cached = VisionFeatures(lmm, folder, dtype="float16" if bf16 else "float32", part=worker.rank)
    try:
        cached.estimate(distinct)
        fits = True
    except BadInput:
        if cache:
            raise
        fits = False
    if worker.any_of(not fits):
        return TowerImages(lmm)
    show = None if on_progress is None else lambda done, total: on_progress("vision features", done, total)
    failed = cached.fill(distinct[worker.rank :: worker.world_size], show)
    worker.barrier()
    cached.refresh()
    return CachedImages(cached, failed)
