"""A loaded CLIP model: images and texts in, float16 unit vectors out.

`index.encoder.loading.load_encoder` makes one. The preprocessing is open_clip's validation transform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from index.encoder.model_spec import describe_model
from index.encoder.scaling import Scaling
from index.encoder.texts import Tokenizer, can_shorten, short_text_features, text_batches

__all__ = ["Encoder"]

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float16]

# Rows of a batch of `encode_queries`. Repeatable batches are filled up, so on a CPU they are small. Measured with
# ViT-B-32 on one core and texts of 8 tokens: 8.1 ms a text in batches of 8, 6.7 ms in batches of 64; a lone text takes
# 17 ms, and 65 ms in a batch that is filled up to 8.
_ROWS_FILLED = 8
_ROWS = 64
_ROWS_GPU = 256


class Encoder:
    """A CLIP model with its preprocessing and tokenizer on one device. Encoding is safe for threads.

    Attributes:
        dim: length of a vector.
        context_length: tokens of a text that the model sees, both end marks included.
        image_size: (height, width) of the pixels the model sees.
        scaling: how an image is brought to that size.
        fingerprint: what decides the vectors, see `index.encoder.model_spec`.
        preprocess: PIL image -> float32 [3, height, width], open_clip's validation transform.
        tokenizer: open_clip's own; `tokenize` also tells which texts it cut.
        model: the open_clip model itself, in eval mode.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        model_cfg: Mapping[str, Any],
        names: Mapping[str, Any],
        device: str,
        precision: str = "fp32",
    ) -> None:
        """Wrap an open_clip `model` in float32; `names` are the `name` and `pretrained` of the fingerprint."""
        from open_clip.transform import PreprocessCfg, image_transform_v2

        preprocess_cfg = PreprocessCfg(**model.visual.preprocess_cfg)
        self.preprocess = image_transform_v2(preprocess_cfg, is_train=False)
        self.dim = int(model_cfg["embed_dim"])
        self.context_length = int(model.context_length)
        size = preprocess_cfg.size
        self.scaling = Scaling.of(
            size, preprocess_cfg.resize_mode, preprocess_cfg.interpolation, preprocess_cfg.fill_color
        )
        self.image_size = self.scaling.size
        self.tokenizer = tokenizer
        self.tokenize = Tokenizer(tokenizer, self.context_length)
        self.fingerprint: dict[str, Any] = {
            **names,
            "dim": self.dim,
            **describe_model(model, model_cfg, asdict(preprocess_cfg) | {"size": self.image_size}),
            "tokenizer": self.tokenize.describe(),
        }
        self.device = torch.device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)
        normalize = self.preprocess.transforms[-1]
        self._mean = torch.tensor(normalize.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(normalize.std, device=self.device).view(1, 3, 1, 1)
        self._half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)

    def to_pixels(self, image: Image.Image) -> Pixels:
        """The image as the model sees it, before normalising: uint8 [height, width, 3]."""
        return self.scaling(image)

    @torch.inference_mode()
    def encode_pixels(self, pixels: Pixels) -> Rows:
        """Encode uint8 [n, height, width, 3] of `to_pixels` in one batch: unit rows [n, dim], or NaN rows."""
        if not len(pixels):
            return np.empty((0, self.dim), np.float16)
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).contiguous()
        # The same operations, in the same order, as torchvision's ToTensor and Normalize: equal to the last bit.
        tensor = batch.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        with self._arithmetic():
            return _unit_rows(self.model.encode_image(tensor))

    def encode_images(self, images: Sequence[Image.Image], batch_size: int = 64) -> Rows:
        """Encode PIL images: unit rows float16 [n, dim]."""
        return self._in_batches(
            self.encode_pixels(np.stack([self.to_pixels(image) for image in images[start : start + batch_size]]))
            for start in range(0, len(images), batch_size)
        )

    @torch.inference_mode()
    def encode_tokens(self, ids: torch.Tensor) -> Rows:
        """Encode int64 [n, context_length] in one batch: unit rows float16 [n, dim]."""
        if not len(ids):
            return np.empty((0, self.dim), np.float16)
        with self._arithmetic():
            return _unit_rows(self.model.encode_text(ids.to(self.device)))

    def encode_texts(self, texts: Sequence[str], batch_size: int = 64) -> Rows:
        """Encode texts: unit rows float16 [n, dim]. Longer ones than the context are cut; `count_long` counts them."""
        return self._in_batches(
            self.encode_tokens(self.tokenize(texts[start : start + batch_size]).ids)
            for start in range(0, len(texts), batch_size)
        )

    @torch.inference_mode()
    def encode_queries(self, texts: Sequence[str], *, repeatable: bool = True) -> tuple[Rows, list[bool]]:
        """Encode short texts fast: unit rows float16 [n, dim], and which texts were longer than the context.

        Equal to `encode_texts` up to rounding: padding after the end mark is not computed.

        Args:
            texts: any number of them.
            repeatable: on one machine, with one number of threads, a text's row is the same to the bit whatever other
                texts are encoded with it. Without this a few texts are encoded faster.
        """
        tokens = self.tokenize(texts)
        features = short_text_features if can_shorten(self.model) else type(self.model).encode_text
        rows = np.empty((len(texts), self.dim), np.float16)
        on_cpu = self.device.type == "cpu"
        count = (_ROWS_FILLED if repeatable else _ROWS) if on_cpu else _ROWS_GPU
        for places, ids in text_batches(self.model, tokens.ids, count, fill=repeatable):
            with self._arithmetic():
                rows[places] = _unit_rows(features(self.model, ids.to(self.device)))[: len(places)]
        return rows, tokens.cut

    def count_long(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the context."""
        return sum(self.tokenize(texts).cut)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        # Weights stay float32, so that the fingerprint does not depend on the precision.
        return torch.autocast(self.device.type, self._half) if self._half is not None else nullcontext()

    def _in_batches(self, batches: Iterator[Rows]) -> Rows:
        return np.concatenate([np.empty((0, self.dim), np.float16), *batches])


def _unit_rows(features: torch.Tensor) -> Rows:
    """Normalise in float32, then cast. A zero or infinite row has no direction and becomes NaN."""
    wide = features.float()
    rows: Rows = (wide / wide.norm(dim=-1, keepdim=True)).half().cpu().numpy()
    return rows
