"""The forward and backward pass of one step: this worker's share of the batch, with the loss over the whole batch.

A share that is computed in parts still gives the gradient of the whole batch (GradCache, arXiv 2101.06983): all
features are computed without a graph, the loss gives the gradient of each feature, and each part is computed again to
pass its gradients on. This takes the memory of one part, and one more forward pass.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from customize.clip.gated import gate_values
from customize.clip.objective import Contrast, Targets, contrastive_loss, sigmoid_loss
from customize.clip.towers import image_tower, text_tower
from customize.clip.train.loader import StepInputs
from customize.clip.train.prepare import Run

__all__ = ["Measured", "TrainStep", "arithmetic"]


class Measured(NamedTuple):
    """Figures of the whole batch, see `customize.clip.objective.Contrast`."""

    loss: float
    accuracy: float
    alike: float


def arithmetic(run: Run) -> AbstractContextManager[Any]:
    """Autocast to the run's number format, or nothing for fp32."""
    half = run.config.precision == "bf16"
    return torch.autocast(torch.device(run.device).type, torch.bfloat16) if half else nullcontext()


class TrainStep:
    """Called with a step's inputs, it adds their gradients to the parameters and returns the figures of the batch."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._model = run.loaded.model
        config = run.config
        self._parts = config.accumulate
        strategy = run.applied.strategy
        self._gated = {
            name: tower(self._model)
            for name, gates, tower in (
                ("image", strategy.gates_image, image_tower),
                ("text", strategy.gates_text, text_tower),
            )
            if gates
        }

    def __call__(self, batch: StepInputs) -> Measured:
        device = self._run.device
        images = batch.images.to(device, non_blocking=True)
        tokens = None if batch.tokens is None else batch.tokens.to(device, non_blocking=True)
        targets = self._targets(batch)
        locked = None if self._run.texts is None else self._run.texts.vectors(batch.rows).to(device)
        if self._parts == 1:
            text = locked if tokens is None else self._text(tokens)
            assert text is not None
            contrast = self._contrast(self._image(images), text, targets)
            contrast.loss.backward()  # type: ignore[no-untyped-call]
        else:
            contrast = self._in_parts(images, tokens, locked, targets)
        # All shares have the same size, so the mean of the workers' means is the mean over the batch.
        measured = torch.stack([contrast.loss.detach(), contrast.accuracy, contrast.alike])
        self._run.worker.average([measured])
        return Measured(*measured.tolist())

    @torch.no_grad()
    def gates(self) -> dict[str, float]:
        """How far the gates are open: the mean |tanh(alpha)| by tower."""
        means = {}
        for name, tower in self._gated.items():
            values = [abs(value) for pair in gate_values(tower) for value in pair]
            means[name] = sum(values) / len(values)
        return means

    def _in_parts(
        self, images: torch.Tensor, tokens: torch.Tensor | None, locked: torch.Tensor | None, targets: Targets
    ) -> Contrast:
        image_parts = images.chunk(self._parts)
        text_parts = None if tokens is None else tokens.chunk(self._parts)
        with torch.no_grad():
            image = torch.cat([self._image(part) for part in image_parts]).requires_grad_()
            text = locked if text_parts is None else torch.cat([self._text(part) for part in text_parts])
        assert text is not None
        text.requires_grad_(text_parts is not None)
        contrast = self._contrast(image, text, targets)
        contrast.loss.backward()  # type: ignore[no-untyped-call]
        for encode, parts, whole in ((self._image, image_parts, image), (self._text, text_parts, text)):
            if parts is None:
                continue
            assert whole.grad is not None
            for part, gradient in zip(parts, whole.grad.chunk(self._parts), strict=True):
                again = encode(part)
                if again.requires_grad:  # not of a tower that is locked as a whole
                    again.backward(gradient)  # type: ignore[no-untyped-call]
        return contrast

    def _image(self, inputs: torch.Tensor) -> torch.Tensor:
        with arithmetic(self._run):
            features = self._run.images.features(self._model, inputs)
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def _text(self, tokens: torch.Tensor) -> torch.Tensor:
        with arithmetic(self._run):
            features = self._model.encode_text(tokens)
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def _contrast(self, image: torch.Tensor, text: torch.Tensor, targets: Targets) -> Contrast:
        scale, bias = self._model.logit_scale.exp(), self._model.logit_bias
        if bias is None:
            return contrastive_loss(image, text, scale, targets)
        return sigmoid_loss(image, text, scale, bias, targets)

    def _targets(self, batch: StepInputs) -> Targets:
        numbers = torch.from_numpy(self._run.pairs.text_of[batch.rows].astype("int64"))
        return Targets(self._run.config.gamma, numbers.to(self._run.device))
