"""The settings of a detector and its training. The defaults are those of RegionCLIP's released recipe for COCO.

They were read in microsoft/RegionCLIP at 4b8513b: configs/COCO-InstanceSegmentation/CLIP_fast_rcnn_R_50_C4_ovd.yaml,
configs/Base-RCNN-C4.yaml, detectron2/config/defaults.py, detectron2/modeling/roi_heads/fast_rcnn.py. What differs:
their proposals come from a second network, which was trained on the base classes before, and ours from the same one;
their background vector stays zero; their tests suppress overlapping boxes softly.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from index.encoder.model_spec import ModelSpec, model_identity
from index.errors import BadInput

__all__ = ["DetectConfig", "Recipe", "recipe_of"]


@dataclass(frozen=True)
class Recipe:
    """What decides a detector beside its CLIP, its classes and the data.

    Attributes:
        cut_after: the stage of the ResNet from whose grid boxes are cut. 3: the last stage is part of the box head, as
            in RegionCLIP; 4: it is part of the trunk, which is cheaper and halves the grid.
        sizes: pixels of the shorter side of an image in training, one drawn for each; tests use the last one.
        longest: pixels of the longer side, at most.
        anchors: sides in pixels of the boxes that proposals start from, each in the shapes 1:2, 1:1 and 2:1.
        frozen_stages: stages that are not trained: 1 the stem, 2 also the first residual stage. Batch norms are frozen
            in all stages.
        boxes_per_image: proposals of an image that the box head is trained on; a quarter of them may be objects.
        proposals: proposals of an image in a test.
        temperature: what cosines are divided by.
        learned_background: whether the background's vector is trained. It starts as zero, and stays so in RegionCLIP.
        background_weight: weight of background boxes in the classification loss.
        focal: exponent of 1 - p, the factor of the classification loss of a box whose class has probability p.
        objectness: whether a box's score is the root of its class's probability times that of an object. RegionCLIP
            does so for LVIS and without training, and not for detectors of COCO.
        optimizer: "sgd", with `momentum`, or "adamw".
        warmup: steps over which the learning rate rises from a thousandth; None: 5,000, or a tenth of all steps where
            that is less.
        drops: shares of the steps after which the learning rate falls to a tenth.
    """

    cut_after: Literal[3, 4] = 3
    sizes: tuple[int, ...] = (640, 672, 704, 736, 768, 800)
    longest: int = 1333
    anchors: tuple[int, ...] = (32, 64, 128, 256, 512)
    frozen_stages: int = 2
    boxes_per_image: int = 512
    proposals: int = 1000
    temperature: float = 0.01
    learned_background: bool = True
    background_weight: float = 0.2
    focal: float = 0.5
    objectness: bool = False
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 16
    steps: int = 90_000
    warmup: int | None = None
    drops: tuple[float, ...] = (2 / 3, 8 / 9)
    flip: bool = True

    def __post_init__(self) -> None:
        if self.cut_after not in (3, 4):
            raise BadInput(f"--cut-after {self.cut_after}: boxes are cut after stage 3 or 4")
        if self.optimizer not in ("sgd", "adamw"):
            raise BadInput(f"--optimizer {self.optimizer}: choose sgd or adamw")
        if not 0 <= self.frozen_stages <= self.cut_after + 1:
            raise BadInput(f"--frozen-stages {self.frozen_stages}: is 0 to {self.cut_after + 1}, the stem counted as 1")
        for name in ("boxes_per_image", "proposals", "batch_size", "steps", "longest"):
            if getattr(self, name) < 1:
                raise BadInput(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 1")
        for name in ("temperature", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"--{name} {getattr(self, name)}: must be above 0")
        for name in ("sizes", "anchors"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise BadInput(f"--{name}: give at least one number of pixels, each at least 1")

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warmup = self.warmup_steps
        if step < warmup:
            share = step / warmup
            return self.lr * (0.001 * (1 - share) + share)
        fallen: float = 0.1 ** sum(step >= drop * self.steps for drop in self.drops)
        return self.lr * fallen

    @property
    def warmup_steps(self) -> int:
        """As given; otherwise 5,000, or a tenth of all steps where that is less."""
        return min(5_000, self.steps // 10) if self.warmup is None else self.warmup


@dataclass(frozen=True)
class DetectConfig:
    """A run: what is trained on what.

    Attributes:
        out: folder of the detector, its log, checkpoints and result.
        model: the CLIP, with a ResNet as image tower.
        annotations, images: COCO's annotation file, and the folder or tars with its images.
        split: base and novel classes, see `vocabulary.load_vocabulary`.
        seed: of new weights, the order of the images, flips and sampled boxes.
        save_every: steps between checkpoints.
        device: "cpu", "cuda", ...; None: the fastest that this machine has.
    """

    out: str
    model: ModelSpec
    annotations: str
    images: str
    split: str = "coco-48-17"
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    save_every: int = 1_000
    device: str | None = None

    def __post_init__(self) -> None:
        if self.save_every < 1:
            raise BadInput(f"--save-every {self.save_every}: must be at least 1")

    def identity(self, classes: dict[str, Any], data: str) -> dict[str, Any]:
        """All that decides the trained weights, as plain JSON values; data: hash of the annotation file."""
        recipe = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.recipe).items()
        }
        for name in ("objectness", "proposals"):  # of tests alone
            del recipe[name]
        model = model_identity(self.model)
        return {"recipe": recipe, "seed": self.seed, "model": model, "classes": classes, "data": data}


def recipe_of(about: dict[str, Any]) -> Recipe:
    """The recipe of plain JSON values, as `asdict` gives them; names of later versions are ignored."""
    known = {each.name for each in fields(Recipe)}
    kept: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in about.items() if name in known
    }
    return Recipe(**kept)
