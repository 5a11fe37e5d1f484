"""Zero-shot segmentation: each patch gets the class with the nearest text vector (MaskCLIP, arXiv 2112.01071).

Two refinements, as in the paper's section 3.2 and with its released thresholds: key smoothing averages the scores of
patches with similar keys; prompt denoising drops classes of which no patch of the image has a high score. The thesis's
figures are in its table 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from customize.clip.evaluate.datasets.dataset import IGNORED, Dataset, Example
from customize.clip.evaluate.dense import (
    DenseFeatures,
    dense_side,
    prepared_images,
    scaled_pixels,
    square_pixels,
    windowed_features,
)
from customize.clip.evaluate.features import EvalModel, Vectors, evaluating
from customize.clip.evaluate.zero_shot import class_vectors
from index.errors import BadInput
from retrieval.templates import Templates

__all__ = ["ClassTexts", "Refinement", "Segmentation", "class_texts", "patch_scores", "segment"]

LOGIT_SCALE = 100.0  # CLIP's, for the softmax over cosines
DENOISE_BELOW = 0.5  # released config, pd_thresh: a class is dropped when its best patch has a lower score
SMOOTH_BELOW = 1.0  # released config, ks_thresh: patches with a lower best score are smoothed, so all of them


@dataclass(frozen=True)
class Refinement:
    """Which of MaskCLIP's two refinements are used."""

    smoothing: bool = True
    denoising: bool = True


@dataclass(frozen=True)
class ClassTexts:
    """The text vectors of the classes; a class, such as the background, may have several.

    Attributes:
        vectors: float32 [t, d], rows of unit length.
        classes: int64 [t], the class of each vector.
    """

    vectors: Vectors
    classes: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segmentation:
    """How well images were segmented; all figures are from 0 to 1.

    Attributes:
        mean_iou: mean over the classes that occur in a mask or a prediction.
        per_class: class -> IoU.
        pixel_accuracy: share of correct pixels.
        images: how many images were segmented.
    """

    mean_iou: float
    per_class: dict[str, float]
    pixel_accuracy: float
    images: int


def class_texts(
    model: EvalModel,
    classes: Sequence[str],
    templates: Templates | str | Sequence[str],
    background: Sequence[str] = (),
) -> ClassTexts:
    """The prompt ensembles of all classes; with `background`, these names replace the name of class 0."""
    if not background:
        return ClassTexts(class_vectors(model, classes, templates), np.arange(len(classes), dtype=np.int64))
    names = [*background, *classes[1:]]
    owners = [0] * len(background) + list(range(1, len(classes)))
    return ClassTexts(class_vectors(model, names, templates), np.array(owners, np.int64))


def patch_scores(found: DenseFeatures, texts: ClassTexts, refinement: Refinement) -> torch.Tensor:
    """The score of each class for each patch, float32 [b, h, w, classes]."""
    device = found.vectors.device
    batch, rows, columns, _ = found.vectors.shape
    cosines = found.vectors.flatten(1, 2) @ torch.from_numpy(texts.vectors).to(device).T
    owners = torch.from_numpy(texts.classes).to(device)
    count = int(owners.max()) + 1
    logits = cosines.new_full((batch, rows * columns, count), -torch.inf)
    logits = logits.scatter_reduce(2, owners.expand_as(cosines), LOGIT_SCALE * cosines, "amax")
    if refinement.denoising:
        best = logits.softmax(-1).amax(1)  # [b, classes]
        absent = (best < DENOISE_BELOW) & (best < best.amax(-1, keepdim=True))  # the best class always remains
        logits = logits.masked_fill(absent[:, None], -torch.inf)
    scores = logits.softmax(-1)
    if refinement.smoothing:
        smoothed = (found.keys @ found.keys.transpose(1, 2)) @ scores
        scores = torch.where(scores.amax(-1, keepdim=True) < SMOOTH_BELOW, smoothed, scores)
    return scores.view(batch, rows, columns, count)


def segment(
    model: EvalModel,
    dataset: Dataset,
    texts: ClassTexts,
    refinement: Refinement,
    *,
    resolution: int | None = None,
    window: int | None = None,
    batch_size: int = 16,
) -> Segmentation:
    """Segment a dataset's images and compare the result with their masks, at the masks' size.

    Args:
        resolution: pixels of the images' shorter side, which keep their shape; None: all are scaled to the model's own
            square.
        window: pixels of overlapping windows, see `dense.windowed_features`; None: the whole image at once.

    Raises:
        BadInput: an image without a mask, or a mask with a class that the dataset does not have.
    """
    scaled = square_pixels(model, dense_side(model)) if resolution is None else scaled_pixels(model, resolution)
    count = len(dataset.classes)
    confusion = np.zeros((count, count), np.int64)
    images = 0
    with evaluating(model.model), torch.inference_mode():
        for chunk, pixels in prepared_images(dataset, scaled, batch_size):
            with model.arithmetic():
                found = windowed_features(model, pixels.to(model.device), window)
            scores = patch_scores(found, texts, refinement).permute(0, 3, 1, 2).cpu()
            for (example, _), one in zip(chunk, scores, strict=True):
                truth = _mask(example, count)
                drawn = functional.interpolate(one[None], size=truth.shape, mode="bilinear", align_corners=False)
                known = truth != IGNORED
                pairs = truth[known].astype(np.int64) * count + drawn[0].argmax(0).numpy()[known]
                confusion += np.bincount(pairs, minlength=count * count).reshape(count, count)
                images += 1
    if not confusion.sum():
        raise BadInput(f"{dataset.name}: has no masked pixels to compare with")
    right, union = np.diagonal(confusion), confusion.sum(0) + confusion.sum(1) - np.diagonal(confusion)
    per_class = {
        name: float(right[number] / union[number]) for number, name in enumerate(dataset.classes) if union[number]
    }
    mean = float(np.mean(list(per_class.values())))
    return Segmentation(mean, per_class, float(right.sum() / confusion.sum()), images)


def _mask(example: Example, classes: int) -> npt.NDArray[np.uint8]:
    if example.mask is None:
        raise BadInput(f"{example.key}: has no mask (KEY.mask.png); segmentation needs one an image")
    mask = example.mask()
    beyond = mask[(mask >= classes) & (mask != IGNORED)]
    if beyond.size:
        raise BadInput(f"{example.key}: its mask has class {int(beyond[0])}, the task has {classes}; 255 is ignored")
    return mask
