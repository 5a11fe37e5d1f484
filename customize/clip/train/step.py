"""One step's arithmetic: features of this worker's share, the loss over the whole batch, gradients of this share.

A share computed in parts gives the gradient of the whole batch, not of its parts: features are first computed without
a graph, the loss gives each feature's gradient, and each part is then computed again with it (GradCache, arXiv
2101.06983). That costs one more forward pass and memory for one part. Knows no optimizer and no files.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from customize.clip.gated import gate_values
from customize.clip.objective import Contrast, Targets, contrastive_loss
from customize.clip.towers import image_tower, text_tower
from customize.clip.train.loader import StepInputs
from customize.clip.train.prepare import Run

__all__ = ["Measured", "TrainStep"]


class Measured(NamedTuple):
    """Of the whole batch, see `customize.clip.objective.Contrast`."""

    loss: float
    accuracy: float
    alike: float


class TrainStep:
    """Call it with a step's inputs: gradients are in the parameters then, what was measured comes back."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._model = run.loaded.model
        config = run.config
        self._bf16 = config.precision == "bf16" or (config.precision == "auto" and run.device.startswith("cuda"))
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
        # The share's loss is a mean over its rows, and all shares are alike: the batch's is the workers' mean.
        measured = torch.stack([contrast.loss.detach(), contrast.accuracy, contrast.alike])
        self._run.peers.average([measured])
        return Measured(*measured.tolist())

    @torch.no_grad()
    def gates(self) -> dict[str, float]:
        """How far the gates are open, by tower: the mean of |tanh(alpha)|."""
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
                if again.requires_grad:  # a tower that is locked as a whole has nothing to learn
                    again.backward(gradient)  # type: ignore[no-untyped-call]
        return contrast

    def _image(self, inputs: torch.Tensor) -> torch.Tensor:
        with self._arithmetic():
            features = self._run.images.features(self._model, inputs)
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def _text(self, tokens: torch.Tensor) -> torch.Tensor:
        with self._arithmetic():
            features = self._model.encode_text(tokens)
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def _contrast(self, image: torch.Tensor, text: torch.Tensor, targets: Targets) -> Contrast:
        return contrastive_loss(image, text, self._model.logit_scale.exp(), targets)

    def _targets(self, batch: StepInputs) -> Targets:
        numbers = torch.from_numpy(self._run.pairs.text_of[batch.rows].astype("int64"))
        return Targets(self._run.config.gamma, numbers.to(self._run.device))

    def _arithmetic(self) -> AbstractContextManager[Any]:
        device = torch.device(self._run.device).type
        return torch.autocast(device, torch.bfloat16) if self._bf16 else nullcontext()
