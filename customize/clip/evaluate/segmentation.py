"""Zero-shot segmentation: each patch is the class whose prompts it is nearest to (MaskCLIP, arXiv 2112.01071).

Key smoothing lets patches with alike keys vote together; prompt denoising drops classes that no patch of the image is
sure of. Both as in the paper's section 3.2 and its released thresholds. Figures: thesis table 2.5. Knows no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from customize.clip.evaluate.datasets.dataset import IGNORED, Dataset, Example
from customize.clip.evaluate.dense import DenseFeatures, dense_features, dense_side, square_pixels
from customize.clip.evaluate.features import EvalModel, Vectors, evaluating, image_batches
from customize.clip.evaluate.zero_shot import class_vectors
from index.errors import BadInput
from retrieval.templates import Templates

__all__ = ["ClassTexts", "Refinement", "Segmentation", "class_texts", "patch_scores", "segment"]

SHARPNESS = 100.0  # of the softmax over cosines, CLIP's logit scale
DENOISE_BELOW = 0.5  # released config, pd_thresh: a class whose best patch has less is not in the image
SMOOTH_BELOW = 1.0  # released config, ks_thresh: patches less sure than this are smoothed, so all of them


@dataclass(frozen=True)
class Refinement:
    """Which of MaskCLIP's two refinements are used."""

    smoothing: bool = True
    denoising: bool = True


@dataclass(frozen=True)
class ClassTexts:
    """Text vectors float32 [t, d] and the class of each, int64 [t]: a background may be told by several names."""

    vectors: Vectors
    classes: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Segmentation:
    """mean_iou over classes that occur (in truth or prediction), 0 to 1, class -> IoU, share of pixels right."""

    dataset: str
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
    """Prompt ensembles of all classes; `background` are the names that stand for class 0, if it is one."""
    if not background:
        return ClassTexts(class_vectors(model, classes, templates), np.arange(len(classes), dtype=np.int64))
    names = [*background, *classes[1:]]
    owners = [0] * len(background) + list(range(1, len(classes)))
    return ClassTexts(class_vectors(model, names, templates), np.array(owners, np.int64))


def patch_scores(found: DenseFeatures, texts: ClassTexts, refinement: Refinement) -> torch.Tensor:
    """float32 [b, h, w, classes]: how sure each patch is of each class."""
    device = found.vectors.device
    batch, rows, columns, _ = found.vectors.shape
    cosines = found.vectors.flatten(1, 2) @ torch.from_numpy(texts.vectors).to(device).T
    owners = torch.from_numpy(texts.classes).to(device)
    count = int(owners.max()) + 1
    logits = cosines.new_full((batch, rows * columns, count), -torch.inf)
    logits = logits.scatter_reduce(2, owners.expand_as(cosines), SHARPNESS * cosines, "amax")
    if refinement.denoising:
        best = logits.softmax(-1).amax(1)  # [b, classes]
        absent = (best < DENOISE_BELOW) & (best < best.amax(-1, keepdim=True))  # someone must remain
        logits = logits.masked_fill(absent[:, None], -torch.inf)
    scores = logits.softmax(-1)
    if refinement.smoothing:
        voted = (found.keys @ found.keys.transpose(1, 2)) @ scores
        scores = torch.where(scores.amax(-1, keepdim=True) < SMOOTH_BELOW, voted, scores)
    return scores.view(batch, rows, columns, count)


def segment(
    model: EvalModel,
    dataset: Dataset,
    texts: ClassTexts,
    refinement: Refinement,
    *,
    side: int | None = None,
    batch_size: int = 16,
) -> Segmentation:
    """Segment a dataset's images and compare with their masks, at the masks' own size."""
    side = dense_side(model, side)
    squared = replace(model, preprocess=square_pixels(model, side))
    count = len(dataset.classes)
    confusion = np.zeros((count, count), np.int64)
    images = 0
    with evaluating(model.model), torch.inference_mode():
        for chunk, pixels in image_batches(squared, iter(dataset), batch_size):
            with model.arithmetic():
                found = dense_features(model, pixels.to(model.device))
            scores = patch_scores(found, texts, refinement).permute(0, 3, 1, 2).cpu()
            for example, one in zip(chunk, scores, strict=True):
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
    return Segmentation(dataset.name, mean, per_class, float(right.sum() / confusion.sum()), images)


def _mask(example: Example, classes: int) -> npt.NDArray[np.uint8]:
    if example.mask is None:
        raise BadInput(f"{example.key}: has no mask (KEY.mask.png); segmentation needs one an image")
    mask = example.mask()
    beyond = mask[(mask >= classes) & (mask != IGNORED)]
    if beyond.size:
        raise BadInput(f"{example.key}: its mask has class {int(beyond[0])}, the task has {classes}; 255 is ignored")
    return mask
