"""What an open_clip model makes of images and texts: float32 features, a batch at a time, decoded ahead in threads.

Knows no task. Any object with open_clip's `encode_image` and `encode_text` will do, customized or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from customize.clip.evaluate.datasets.dataset import Example
from index.errors import BadInput
from index.read_ahead import read_ahead

__all__ = ["EvalModel", "Features", "evaluating", "image_batches", "image_features", "text_features", "unit"]

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EvalModel:
    """An open_clip model with what belongs to it.

    Attributes:
        model: has `encode_image` [b, 3, h, w] -> [b, d] and `encode_text` [b, context] -> [b, d].
        preprocess: PIL image -> float32 [3, h, w].
        tokenizer: texts -> int64 [b, context], open_clip's (or `index.encoder.tokens.Tokenizer`).
        precision: of the arithmetic; features are float32 always.
    """

    model: Any
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenizer: Callable[[list[str]], Any]
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def logit_scale(self) -> float:
        """The model's learned scale of similarities, exp'd: 100 for CLIP after training."""
        return float(self.model.logit_scale.detach().exp())

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """int64 [n, context] on the model's device."""
        ids = self.tokenizer(list(texts))
        tokens: torch.Tensor = getattr(ids, "ids", ids)
        return tokens.to(self.device)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Autocast to `precision`, or nothing for fp32."""
        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        return torch.autocast(self.device.type, half) if half is not None else nullcontext()


@dataclass(frozen=True)
class Features:
    """float32 [n, d] as the model gives them (not of unit length), with the examples' keys and labels."""

    vectors: Vectors
    keys: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]

    def take(self, places: npt.NDArray[np.int64]) -> Features:
        """The examples at `places`, in their order."""
        return Features(
            self.vectors[places], tuple(self.keys[at] for at in places), tuple(self.labels[at] for at in places)
        )


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put a model into eval mode and give it back as it was, so that a trainer can measure in between."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


def unit(vectors: Vectors) -> Vectors:
    """Rows of unit length; a row without direction stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return rows


def image_batches(
    model: EvalModel, examples: Iterator[Example], batch_size: int = 64, threads: int = 2
) -> Iterator[tuple[list[Example], torch.Tensor]]:
    """Batches of examples with float32 [b, 3, h, w] on the CPU; the next two are prepared while one is used."""

    def prepared(example: Example) -> torch.Tensor:
        return model.preprocess(example.open())

    def batches() -> Iterator[tuple[list[Example], torch.Tensor]]:
        with ThreadPoolExecutor(threads, thread_name_prefix="evaluate") as pool:
            while chunk := list(itertools.islice(examples, batch_size)):
                yield chunk, torch.stack(list(pool.map(prepared, chunk)))

    with closing(read_ahead(batches(), 2)) as ready:
        yield from ready


def image_features(model: EvalModel, examples: Iterator[Example], batch_size: int = 64, threads: int = 2) -> Features:
    """Encode all examples, in order. BadInput when there is none."""
    rows: list[Vectors] = []
    keys: list[str] = []
    labels: list[tuple[int, ...]] = []
    with evaluating(model.model), torch.inference_mode(), model.arithmetic():
        for chunk, pixels in image_batches(model, examples, batch_size, threads):
            rows.append(model.model.encode_image(pixels.to(model.device)).float().cpu().numpy())
            keys += [example.key for example in chunk]
            labels += [example.labels for example in chunk]
    if not rows:
        raise BadInput("the evaluation set has no images; check the folder and the split")
    return Features(np.concatenate(rows), tuple(keys), tuple(labels))


def text_features(model: EvalModel, texts: Sequence[str], batch_size: int = 256) -> Vectors:
    """float32 [n, d] as the model gives them."""
    rows: list[Vectors] = []
    with evaluating(model.model), torch.inference_mode(), model.arithmetic():
        for start in range(0, len(texts), batch_size):
            tokens = model.tokens(texts[start : start + batch_size])
            rows.append(model.model.encode_text(tokens).float().cpu().numpy())
    return np.concatenate(rows)
