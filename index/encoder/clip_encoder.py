"""CLIP encoders through open_clip: images and texts in, float16 unit vectors out.

    encoder = load_encoder(ModelSpec("ViT-B-32", "openai"))
    encoder.encode_texts(["a photo of a dog"])           # float16 [1, 512]

Weights are open_clip's by name and tag, a local folder's (safetensors only), or random by a seed. The preprocessing is
open_clip's validation transform. Knows no stores and no corpora.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from index.encoder.fingerprint import describe_model
from index.encoder.model_extensions import Extend, extend_model
from index.encoder.model_spec import CONFIG_NAME, ModelSpec, model_identity, read_model_config, weights_file
from index.encoder.short_texts import can_shorten, groups_by_length, short_text_features
from index.encoder.tokens import Tokenizer
from index.errors import BadInput, ClipmineError
from index.files import hash_json

__all__ = ["Encoder", "ModelSpec", "check_model", "default_device", "load_encoder", "model_config", "open_encoder"]

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float16]

_loading = threading.Lock()


class Encoder:
    """A CLIP model with its preprocessing and tokenizer on one device. Encoding is safe for threads.

    Attributes:
        dim: length of a vector.
        context_length: tokens of a text that the model sees, both end marks included.
        image_size: (height, width) of the pixels the model sees.
        fingerprint: what decides the vectors, see `index.encoder.model_spec`.
        preprocess: PIL image -> float32 [3, height, width], open_clip's validation transform.
        tokenizer: open_clip's own; `tokenize` also says which texts it cut.
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
        self.image_size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
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
        # The transform ends in (to RGB, to tensor, normalise), which is the same for a whole batch at once.
        *self._to_pixels, _, _, normalize = self.preprocess.transforms
        self._mean = torch.tensor(normalize.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(normalize.std, device=self.device).view(1, 3, 1, 1)
        self._half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)

    def to_pixels(self, image: Image.Image) -> Pixels:
        """The image as the model sees it, before normalising: uint8 [height, width, 3]."""
        for step in self._to_pixels:
            image = step(image)
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))

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
    def encode_queries(self, texts: Sequence[str], batch_size: int = 64) -> tuple[Rows, list[bool]]:
        """Encode short texts fast: unit rows float16 [n, dim], and which texts were longer than the context.

        Equal to `encode_texts` up to rounding: padding after the end mark is not computed.
        """
        tokens = self.tokenize(texts)
        if not can_shorten(self.model):
            return self.encode_texts(texts, batch_size), tokens.cut
        rows = np.empty((len(texts), self.dim), np.float16)
        for places, ids in groups_by_length(self.model, tokens.ids, batch_size):
            with self._arithmetic():
                rows[places] = _unit_rows(short_text_features(self.model, ids.to(self.device)))
        return rows, tokens.cut

    def count_long(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the context."""
        return sum(self.tokenize(texts).cut)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        # Weights stay float32, so that the fingerprint does not depend on the precision.
        return torch.autocast(self.device.type, self._half) if self._half is not None else nullcontext()

    def _in_batches(self, batches: Iterator[Rows]) -> Rows:
        return np.concatenate([np.empty((0, self.dim), np.float16), *batches])


def default_device() -> str:
    """The fastest device that is there: cuda, else mps (Apple), else cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_model(spec: ModelSpec) -> None:
    """Refuse a model that cannot be loaded before any work starts; downloads nothing.

    Raises:
        BadInput: unknown name (lists close ones) or tag (lists the model's), or a model folder that is none.
    """
    if spec.model_dir is not None:
        read_model_config(spec.model_dir)
        weights_file(spec.model_dir)
        return
    import difflib

    import open_clip

    assert spec.name is not None
    names = open_clip.list_models()
    if spec.name not in names:
        folded = {name.lower(): name for name in names}
        close = [folded[name] for name in difflib.get_close_matches(spec.name.lower(), folded, n=5, cutoff=0.5)]
        known = ", ".join(close or ["RN50", "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14"])
        raise BadInput(f"unknown model {spec.name!r}: did you mean {known}? (open_clip knows {len(names)})")
    if spec.random_seed is not None:
        return
    tags = open_clip.list_pretrained_tags_by_model(spec.name)
    if spec.pretrained is None or not open_clip.get_pretrained_cfg(spec.name, spec.pretrained):
        problem = "needs a tag" if spec.pretrained is None else f"has no tag {spec.pretrained!r}"
        choice = f"its tags are {', '.join(tags)}" if tags else "open_clip has no weights for it; use --model-dir"
        raise BadInput(f"model {spec.name} {problem}: {choice}")


def load_encoder(spec: ModelSpec, device: str | None = None) -> Encoder:
    """Load a model, once in a process.

    Raises:
        BadInput: no such model, tag or folder, or weights that do not fit their configuration.
        ClipmineError: the weights could not be downloaded.
    """
    check_model(spec)
    with _loading:  # two threads would load twice
        return _load(spec, hash_json(model_identity(spec)), device or default_device())


@lru_cache(maxsize=2)
def _load(spec: ModelSpec, identity: str, device: str) -> Encoder:
    """`identity` is there so that a folder whose files have changed is loaded anew."""
    return open_encoder(spec, device)


def model_config(spec: ModelSpec) -> dict[str, Any]:
    """open_clip's `model_cfg` of a model, with the QuickGELU that its weights were trained with."""
    import open_clip

    name = _open_clip_name(spec)
    model_cfg: dict[str, Any] = open_clip.get_model_config(name)
    if spec.pretrained is not None and open_clip.get_pretrained_cfg(name, spec.pretrained).get("quick_gelu", False):
        # The architecture is shared by all tags: openai's ViT-B-32 is QuickGELU, laion2b's is not.
        model_cfg["quick_gelu"] = True
    return model_cfg


def open_encoder(spec: ModelSpec, device: str, extensions: Mapping[str, Extend] | None = None) -> Encoder:
    """A model of the caller's own, to be changed at will; `load_encoder` gives the one that a process shares.

    `extensions` are taken before installed ones, see `index.encoder.model_extensions`. Raises as `load_encoder` does.
    """
    import open_clip

    check_model(spec)
    name, model_cfg = _open_clip_name(spec), model_config(spec)
    with _quietly(), torch.random.fork_rng(devices=[]):
        if spec.random_seed is not None:
            torch.manual_seed(spec.random_seed)
        try:
            model = open_clip.create_model(
                name,
                pretrained=spec.pretrained,
                # A folder's weights are loaded below: open_clip would take a pickle where no safetensors has its name.
                load_weights=spec.model_dir is None,
                device="cpu",
                force_quick_gelu=bool(model_cfg.get("quick_gelu", False)),
                pretrained_image=False,
                pretrained_text=False,
                weights_only=True,
            )
            if spec.model_dir is not None:
                extend_model(model, spec.model_dir, extensions or {})
                open_clip.load_checkpoint(model, str(weights_file(spec.model_dir)))
            tokenizer = open_clip.get_tokenizer(name)
        except ClipmineError:
            raise
        except Exception as error:
            raise _loading_failed(spec, error) from error
    # A folder's name says nothing of what is in it, and would make a store depend on where the model lies.
    names = {"name": "local-dir" if spec.model_dir is not None else spec.name, "pretrained": spec.pretrained}
    if spec.random_seed is not None:
        names["pretrained"] = f"random-{spec.random_seed}"
    return Encoder(model, tokenizer, model_cfg, names, device, spec.precision)


def _open_clip_name(spec: ModelSpec) -> str:
    return f"local-dir:{spec.model_dir}" if spec.model_dir is not None else str(spec.name)


def _loading_failed(spec: ModelSpec, error: Exception) -> ClipmineError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if spec.model_dir is not None:
        return BadInput(f"{spec.model_dir}: its weights do not fit its {CONFIG_NAME}: {' '.join(lines[:2])[:300]}")
    return ClipmineError(
        f"model {spec}: could not be loaded ({lines[0][:300]}); its weights are downloaded the first time, "
        "which needs the network; or use --model-dir"
    )


def _unit_rows(features: torch.Tensor) -> Rows:
    """Normalise in float32, then cast. A zero or infinite row has no direction and becomes NaN."""
    wide = features.float()
    rows: Rows = (wide / wide.norm(dim=-1, keepdim=True)).half().cpu().numpy()
    return rows


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence open_clip's and the hub's log lines: what matters in them we say ourselves, in one line."""

    def is_ours(record: logging.LogRecord) -> bool:
        return Path(record.pathname).parent.name != "open_clip"

    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    logging.getLogger().addFilter(is_ours)
    hub.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeFilter(is_ours)
        hub.setLevel(level)
