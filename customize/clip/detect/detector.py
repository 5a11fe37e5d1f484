"""A detector: torchvision's Faster R-CNN of the parts of a CLIP ResNet.

detector = build_detector(model.visual, texts, recipe, mean, std)
losses = detector(images, targets)          # in training mode, by name
with detecting(detector, texts): ...        # boxes, labels and scores of images, also of other classes
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from open_clip.utils import freeze_batch_norm_2d
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from customize.clip.detect.config import Recipe
from customize.clip.detect.parts import BoxCut, BoxHead, TextClassifier, Trunk, cut_side
from customize.clip.evaluate.box_ap import MAX_DETECTIONS

__all__ = ["Boxes", "TextHeads", "build_detector", "detecting"]

Boxes = list[torch.Tensor]
Found = dict[str, torch.Tensor]

# RegionCLIP's numbers for proposals and boxes, see `customize.clip.detect.config`.
_PROPOSALS_TRAINED = 2_000
_BEFORE_NMS = (12_000, 6_000)  # proposals of an image, in training and in tests
_SHAPES = (0.5, 1.0, 2.0)  # height over width
_OBJECT = 0.5  # IoU from which a proposal is an object
_OBJECTS_TRAINED = 0.25  # of the boxes, at most
_NMS = 0.5  # IoU
_LEAST_SCORE = 0.001
_LEAST = 1e-6  # a root has no finite gradient at 0, where a probability is 1
_CORRECTION_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class TextHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's heads of boxes with RegionCLIP's losses, and one correction of a box for all classes.

    Attributes:
        objectness: probabilities of the proposals of the last images, in their order.
    """

    def __init__(self, cut: BoxCut, head: BoxHead, classifier: TextClassifier, recipe: Recipe) -> None:
        super().__init__(
            cut,
            head,
            classifier,
            _OBJECT,
            _OBJECT,
            recipe.boxes_per_image,
            _OBJECTS_TRAINED,
            _CORRECTION_WEIGHTS,
            _LEAST_SCORE,
            _NMS,
            MAX_DETECTIONS,
        )
        self.recipe = recipe
        self.objectness: Boxes = []

    def forward(
        self, features: Any, proposals: Boxes, image_shapes: Sequence[tuple[int, int]], targets: Any = None
    ) -> tuple[list[Found], Found]:
        if self.training:
            proposals, _, labels, corrections = self.select_training_samples(proposals, targets)
        cuts = self.box_roi_pool(features, proposals, image_shapes)
        logits, found = self.box_predictor(self.box_head(cuts))
        if self.training:
            return [], self._losses(logits, found, torch.cat(labels), torch.cat(corrections))
        return self._detections(logits, found, proposals, image_shapes), {}

    def _losses(
        self, logits: torch.Tensor, found: torch.Tensor, labels: torch.Tensor, corrections: torch.Tensor
    ) -> Found:
        """Cross-entropy scaled by focal and background weights, and the L1 distance of the objects' corrections."""
        losses = functional.cross_entropy(logits, labels, reduction="none")
        own = logits.softmax(-1).gather(1, labels[:, None])[:, 0]
        losses = losses * (1 - own).clamp(min=_LEAST) ** self.recipe.focal
        losses = losses * torch.where(labels == 0, self.recipe.background_weight, 1.0)
        objects = labels > 0
        distance = (found[objects] - corrections[objects]).abs().sum()
        return {"loss_classifier": losses.mean(), "loss_box_reg": distance / max(1, len(labels))}

    def _detections(
        self, logits: torch.Tensor, found: torch.Tensor, proposals: Boxes, shapes: Sequence[tuple[int, int]]
    ) -> list[Found]:
        counts = [len(own) for own in proposals]
        boxes = self.box_coder.decode(found, proposals)[:, 0] if sum(counts) else found
        scores = logits.softmax(-1)[:, 1:]
        if self.recipe.objectness:
            scores = (scores * torch.cat(self.objectness)[:, None]).sqrt()
        parts = zip(torch.split(boxes, counts), torch.split(scores, counts), shapes, strict=True)
        return [self._best(clip_boxes_to_image(own, shape), rows) for own, rows, shape in parts]

    def _best(self, boxes: torch.Tensor, scores: torch.Tensor) -> Found:
        """The best boxes of an image, of each class those that overlap no better one."""
        row, label = torch.where(scores > self.score_thresh)
        boxes, best = boxes[row], scores[row, label]
        kept = remove_small_boxes(boxes, 1e-2)
        boxes, best, label = boxes[kept], best[kept], label[kept]
        kept = batched_nms(boxes, best, label, self.nms_thresh)[: self.detections_per_img]
        return {"boxes": boxes[kept], "labels": label[kept], "scores": best[kept]}


def build_detector(
    visual: Any, texts: torch.Tensor, recipe: Recipe, mean: Sequence[float], std: Sequence[float]
) -> Any:
    """Make a detector of an image tower, whose modules it takes over, and of text vectors [classes, d].

    It takes a list of images float32 [3, h, w] from 0 to 1. In training it takes also a list of targets, each with
    `boxes` float32 [n, 4] in pixels and `labels` int64 [n] from 1, and returns losses. In evaluation mode it returns
    for each image `boxes`, `labels` from 0, and `scores`, the best first.

    New weights are drawn from torch's global generator.
    """
    freeze_batch_norm_2d(visual)
    trunk = Trunk(visual, recipe.cut_after, recipe.frozen_stages)
    cut = BoxCut(cut_side(visual, recipe.cut_after), trunk.stride)
    head = BoxHead(visual, recipe.cut_after)
    classifier = TextClassifier(texts, recipe.temperature, recipe.learned_background)
    detector = FasterRCNN(
        trunk,
        min_size=recipe.sizes,
        max_size=recipe.longest,
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=AnchorGenerator((recipe.anchors,), (_SHAPES,)),
        rpn_pre_nms_top_n_train=_BEFORE_NMS[0],
        rpn_pre_nms_top_n_test=_BEFORE_NMS[1],
        rpn_post_nms_top_n_train=_PROPOSALS_TRAINED,
        rpn_post_nms_top_n_test=recipe.proposals,
        box_roi_pool=cut,
        box_head=head,
        box_predictor=classifier,
    )
    detector.roi_heads = TextHeads(cut, head, classifier, recipe)
    _keep_objectness(detector.rpn, detector.roi_heads)
    return detector


def _keep_objectness(proposer: Any, heads: TextHeads) -> None:
    """Let the proposals' probabilities reach the heads: torchvision gives them the boxes alone."""
    chosen = proposer.filter_proposals

    def keep(*arguments: Any) -> Any:
        boxes, heads.objectness = chosen(*arguments)
        return boxes, heads.objectness

    proposer.filter_proposals = keep


@contextmanager
def detecting(detector: Any, texts: torch.Tensor) -> Iterator[None]:
    """Evaluation mode with the classes of these text vectors, without gradients; afterwards all is as before."""
    classifier: TextClassifier = detector.roi_heads.box_predictor
    was, own = detector.training, classifier.texts
    detector.eval()
    classifier.use(texts)
    try:
        with torch.no_grad():  # inference tensors would stay in caches that training uses
            yield
    finally:
        classifier.texts = own
        detector.train(was)
