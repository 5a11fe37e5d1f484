"""Trains a detector on the boxes of base classes; a run that was stopped resumes from its last checkpoint.

    summary = train_detector(DetectConfig("detector", ModelSpec("RN50", "openai"), "boxes.json", "images"))

    OUT/
      detector.json, detector.safetensors    the detector, see customize.clip.detect.folder
      log.jsonl                              one line a step
      checkpoints/                           for resuming; may be deleted at the end
      run.json, manifest.json                the run's identity, and the summary, written last

The images of a step, and all that is drawn in it, follow from the seed and the step, so a run that was killed and
resumed has the losses of an uninterrupted one, up to rounding.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from customize.clip.detect.batches import DetectBatches
from customize.clip.detect.coco_boxes import Annotations, base_only, read_annotations
from customize.clip.detect.config import DetectConfig, Recipe
from customize.clip.detect.detector import build_detector
from customize.clip.detect.folder import save_detector, text_vectors, tower_shape
from customize.clip.detect.images import open_images
from customize.clip.detect.parts import check_tower
from customize.clip.detect.vocabulary import load_vocabulary
from customize.clip.model_folder import load_base
from customize.clip.train.checkpoint import Checkpoint, last_checkpoint, read_state, save_state
from customize.clip.train.log import continue_log, read_lines
from index.encoder.loading import usable_device
from index.errors import ClipmineError
from index.files import hash_json, join, read_bytes, write_atomic
from index.outputs import claim_folder, only_writer, unused_claim_released

__all__ = ["DetectRecord", "DetectSummary", "train_detector"]

_CLAIM, _LOG = "run.json", "log.jsonl"
_STATES = ("momentum_buffer", "exp_avg", "exp_avg_sq")  # what optimizers keep of a weight


@dataclass(frozen=True)
class DetectRecord:
    """The figures of one step, counted from 1; parts: the losses whose sum `loss` is."""

    step: int
    loss: float
    lr: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class DetectSummary:
    """What a run did. The images of the annotation file are `images` and those left out, and so are its boxes.

    Attributes:
        left_out: reason -> number of boxes that were not trained on.
        images_left_out: reason -> number of images.
        trained: number of trained weights.
        first_loss, last_loss: means over the first and the last tenth of the steps.
        seconds: duration of the last call that trained, with preparation.
    """

    out: str
    base: int
    novel: int
    images: int
    images_left_out: Mapping[str, int]
    boxes: int
    left_out: Mapping[str, int]
    trained: int
    steps: int
    batch: int
    first_loss: float
    last_loss: float
    seconds: float


def train_detector(
    config: DetectConfig,
    *,
    on_step: Callable[[DetectRecord, int], None] | None = None,
) -> DetectSummary:
    """Train as `config` says. A run that was stopped resumes; of a finished run only the summary is read.

    on_step: called with each record and the number of all steps.

    Raises:
        BadInput: the model, the split, the annotations or the images cannot be used.
        OutputExists: `config.out` holds another run.
        ClipmineError: the loss is not finite.
    """
    started = time.monotonic()
    vocabulary = load_vocabulary(config.split)
    trained_on = base_only(read_annotations(config.annotations, vocabulary.classes), len(vocabulary.base))
    listed = {"base": list(vocabulary.base), "novel": list(vocabulary.novel), "templates": vocabulary.templates}
    identity = config.identity(json.loads(json.dumps(listed)), trained_on.sha256)
    with only_writer(config.out), unused_claim_released(config.out, _CLAIM):
        if claim_folder(config.out, _CLAIM, identity):
            return _read_summary(config.out)
        device = usable_device(config.device)
        loaded = load_base(config.model, device)
        visual = loaded.model.visual
        check_tower(visual, str(config.model))
        shape = tower_shape(visual)
        texts = text_vectors(loaded, vocabulary)
        opened = open_images(config.images, [image.name for image in trained_on.images])
        batches = DetectBatches(trained_on, opened, config.recipe.batch_size, config.seed, config.recipe.flip)
        normalize = loaded.preprocess.transforms[-1]  # type: ignore[attr-defined]  # open_clip's last step
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            base = texts[: len(vocabulary.base)]
            detector = build_detector(visual, base, config.recipe, normalize.mean, normalize.std).to(device)
        loop = _Loop(config, detector, batches, hash_json(identity), device)
        loop.run(on_step)
        save_detector(config.out, detector, shape, vocabulary, texts, config.recipe, config.model, loaded.fingerprint)
        seconds = round(time.monotonic() - started, 1)
        summary = _summary(config, len(vocabulary.base), len(vocabulary.novel), trained_on, loop.trained, seconds)
        write_atomic(join(config.out, "manifest.json"), json.dumps(asdict(summary), indent=1) + "\n")
    return summary


class _Loop:
    """The state of a training, restored from its last checkpoint if there is one."""

    def __init__(self, config: DetectConfig, detector: Any, batches: DetectBatches, identity: str, device: str) -> None:
        self.config, self.detector, self.batches = config, detector, batches
        self.identity, self.device = identity, device
        self.trained: dict[str, torch.nn.Parameter] = {
            name: parameter for name, parameter in detector.named_parameters() if parameter.requires_grad
        }
        self.optimizer = _optimizer(config.recipe, self.trained)
        self.folder = join(config.out, "checkpoints")
        self.step = 0
        self.saved = last_checkpoint(self.folder)
        if self.saved is not None:
            self._restore(self.saved)

    def run(self, on_step: Callable[[DetectRecord, int], None] | None) -> None:
        """Train to the last step; each checkpoint follows the log lines of its steps."""
        recipe = self.config.recipe
        self.detector.train()
        forked = [self.device] if self.device.startswith("cuda") else []
        with continue_log(join(self.config.out, _LOG), self.step) as log, torch.random.fork_rng(forked):
            for step, (pixels, targets) in self.batches.steps(self.step, recipe.steps):
                torch.manual_seed(_seed_of(self.config.seed, step))
                record = self._take(step, pixels, targets)
                log.write(json.dumps(asdict(record)) + "\n")
                log.flush()
                if self.step % self.config.save_every == 0 or self.step == recipe.steps:
                    self._save()
                if on_step is not None:
                    on_step(record, recipe.steps)

    def _take(self, step: int, pixels: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]) -> DetectRecord:
        rate = self.config.recipe.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.detector(
            [own.to(self.device) for own in pixels],
            [{name: value.to(self.device) for name, value in target.items()} for target in targets],
        )
        loss = sum(losses.values())
        value = float(loss.detach())
        if not math.isfinite(value):
            names = ", ".join(self.batches.annotations.images[row].name for row in self.batches.rows(step)[:8])
            kept = (
                f"the last good checkpoint is {self.saved.path}" if self.saved else "there is no checkpoint before it"
            )
            raise ClipmineError(
                f"step {step + 1}: the loss is not finite, at the images {names}; {kept}; lower --lr and train into "
                "another --out"
            )
        loss.backward()
        self.optimizer.step()
        self.step = step + 1
        parts = {name: float(each.detach()) for name, each in losses.items()}
        return DetectRecord(self.step, value, rate, parts)

    def _save(self) -> None:
        tensors = {f"weight.{name}": parameter.detach() for name, parameter in self.trained.items()}
        for name, parameter in self.trained.items():
            state = self.optimizer.state.get(parameter, {})
            tensors |= {f"{key}.{name}": state[key] for key in _STATES if state.get(key) is not None}
        self.saved = save_state(self.folder, self.step, tensors, {"identity": self.identity}) or self.saved

    def _restore(self, saved: Checkpoint) -> None:
        _, tensors = read_state(saved, self.identity, self.trained)
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(tensors[f"weight.{name}"])
                state = {
                    key: tensors[f"{key}.{name}"].to(parameter.device) for key in _STATES if f"{key}.{name}" in tensors
                }
                if "exp_avg" in state:
                    state["step"] = torch.tensor(float(saved.step))
                if state:
                    self.optimizer.state[parameter] = state
        self.step = saved.step


def _seed_of(seed: int, step: int) -> int:
    """The seed of what is drawn in a step: the size of its images, and which proposals are trained on."""
    return int(hash_json([seed, step])[:15], 16)


def _optimizer(recipe: Recipe, trained: Mapping[str, torch.nn.Parameter]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(trained.values(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(trained.values(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def _summary(
    config: DetectConfig,
    base: int,
    novel: int,
    trained_on: Annotations,
    trained: Mapping[str, torch.nn.Parameter],
    seconds: float,
) -> DetectSummary:
    losses = [row["loss"] for row in read_lines(join(config.out, _LOG))]
    tenth = max(1, len(losses) // 10)
    return DetectSummary(
        out=config.out,
        base=base,
        novel=novel,
        images=len(trained_on.images),
        images_left_out=trained_on.images_left_out,
        boxes=trained_on.boxes,
        left_out=trained_on.left_out,
        trained=sum(parameter.numel() for parameter in trained.values()),
        steps=config.recipe.steps,
        batch=config.recipe.batch_size,
        first_loss=sum(losses[:tenth]) / tenth,
        last_loss=sum(losses[-tenth:]) / tenth,
        seconds=seconds,
    )


def _read_summary(out: str) -> DetectSummary:
    return DetectSummary(**{**json.loads(read_bytes(join(out, "manifest.json"))), "out": out})
