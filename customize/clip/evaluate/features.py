"""Encodes images and texts with a model: float32 features, in batches, with images decoded ahead in threads.

The model is any object with open_clip's `encode_image` and `encode_text`, customized or not.
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
    """An open_clip model with its preprocessing and its tokenizer.

    Attributes:
        model: has `encode_image` [b, 3, h, w] -> [b, d] and `encode_text` [b, context] -> [b, d].
        preprocess: PIL image -> float32 [3, h, w].
        tokenizer: texts -> int64 [b, context], open_clip's (or `index.encoder.texts.Tokenizer`).
        precision: of the model's arithmetic; features are always float32.
    """

    model: Any
    preprocess: Callable[[Image.Image], torch.Tensor]
    tokenizer: Callable[[list[str]], Any]
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def logit_scale(self) -> float:
        """The learned factor of cosines (exp of the parameter): 100 for CLIP after training."""
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
    """Features float32 [n, d] of images, not normalised, with the examples' keys and labels."""

    vectors: Vectors
    keys: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]

    def take(self, rows: npt.NDArray[np.int64]) -> Features:
        """The examples at the positions `rows`, in that order."""
        return Features(
            self.vectors[rows], tuple(self.keys[row] for row in rows), tuple(self.labels[row] for row in rows)
        )


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put a model into eval mode, and back into its own mode at the end, so that a trainer can measure in between."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


def unit(vectors: Vectors) -> Vectors:
    """Scale the rows of float32 [n, d] to unit length; a row of zeros stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return rows


def image_batches(
    model: EvalModel, examples: Iterator[Example], batch_size: int = 64, threads: int = 2
) -> Iterator[tuple[list[Example], torch.Tensor]]:
    """Batches of examples with their pixels, float32 [b, 3, h, w] on the CPU.

    The next two batches are decoded while the caller works on one.
    """

    def prepared(example: Example) -> torch.Tensor:
        return model.preprocess(example.open())

    def batches() -> Iterator[tuple[list[Example], torch.Tensor]]:
        with ThreadPoolExecutor(threads, thread_name_prefix="evaluate") as pool:
            while chunk := list(itertools.islice(examples, batch_size)):
                yield chunk, torch.stack(list(pool.map(prepared, chunk)))

    with closing(read_ahead(batches(), 2)) as ready:
        yield from ready


def image_features(model: EvalModel, examples: Iterator[Example], batch_size: int = 64, threads: int = 2) -> Features:
    """Encode the images of all examples, in order. Raises BadInput when there are none."""
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
    """Encode texts: float32 [n, d], not normalised."""
    rows: list[Vectors] = []
    with evaluating(model.model), torch.inference_mode(), model.arithmetic():
        for start in range(0, len(texts), batch_size):
            tokens = model.tokens(texts[start : start + batch_size])
            rows.append(model.model.encode_text(tokens).float().cpu().numpy())
    return np.concatenate(rows)
