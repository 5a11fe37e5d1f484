"""How images enter a model: the processor that scales them, and how many tokens each becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from customize.lmm.model.source import read_json
from index.corpus.image_decoding import ImageRejected, decode_image
from index.errors import BadInput
from mining.sets.annotation import IMAGE

__all__ = ["describe_preprocessing", "image_pixels", "image_processor", "image_token_count", "make_processor"]

_FIELDS = (
    "size",
    "crop_size",
    "resample",
    "do_resize",
    "do_center_crop",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "do_convert_rgb",
)
_SIZES = ("size", "crop_size")


def image_processor(folder: Path, pad_to_square: bool | None) -> Any:
    """A `LlavaImageProcessor` with the sizes and means of a checkpoint's own image processor.

    pad_to_square: see `LmmSource`. Raises BadInput where the folder describes no image processor.
    """
    import transformers
    from transformers.models.llava.image_processing_llava import LlavaImageProcessor

    auto: Any = transformers.AutoImageProcessor
    try:
        own = auto.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{folder}: describes no image processor (preprocessor_config.json); copy it from the vision tower's folder"
        ) from error
    values = {name: getattr(own, name) for name in _FIELDS if getattr(own, name, None) is not None}
    values = {name: dict(value) if name in _SIZES else value for name, value in values.items()}
    size = values.get("size", {})
    if not values.get("do_center_crop") and "height" in size:  # SigLIP scales to a square and crops nothing
        values |= {"do_center_crop": False, "crop_size": size}
    if pad_to_square is None:
        pad_to_square = _stated_padding(folder)
    return LlavaImageProcessor(**values, do_pad=pad_to_square)


def image_pixels(processor: Any, file: bytes) -> torch.Tensor:
    """An encoded image as the vision tower takes it, float32 [3, height, width]; processor: a `LlavaProcessor`.

    Raises BadInput where the file is no image that can be used, with the reason.
    """
    try:
        decoded = decode_image(file)
    except ImageRejected as error:
        raise BadInput(f"cannot be used ({error.reason})") from error
    pixels: torch.Tensor = processor.image_processor(images=[decoded], return_tensors="pt")["pixel_values"][0]
    return pixels


def image_token_count(tower: Any, processor: Any, select: str) -> int:
    """Tokens of an image: the tower's outputs, less the first (CLS) with the strategy "default".

    Found by the shapes alone, without computing. Raises BadInput where tower and processor do not fit.
    """
    import transformers

    auto: Any = transformers.AutoModel

    crop = processor.crop_size
    height, width = int(crop["height"]), int(crop["width"])
    with torch.device("meta"):
        shape = auto.from_config(tower.config)
        try:
            hidden = shape(torch.empty(1, 3, height, width)).last_hidden_state
        except ValueError as error:
            raise BadInput(
                f"the vision tower does not take the images of its processor, {height} x {width} pixels ({error})"
            ) from error
    return int(hidden.shape[1]) - (select == "default")


def make_processor(images: Any, tokenizer: Any, config: Any, tokens: int, chat_template: str | None) -> Any:
    """A `LlavaProcessor` that writes `tokens` image tokens for each image, for a `LlavaConfig`."""
    from transformers import LlavaProcessor

    select, patch = config.vision_feature_select_strategy, int(config.vision_config.patch_size)
    crop = images.crop_size
    patches = (int(crop["height"]) // patch) * (int(crop["width"]) // patch)
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        images,
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy=select,
        chat_template=chat_template,
        image_token=tokenizer.convert_ids_to_tokens(int(config.image_token_index)) or IMAGE,
        num_additional_image_tokens=tokens - patches + (select == "default"),
    )


def describe_preprocessing(processor: Any) -> dict[str, Any]:
    """What an image processor does, as plain JSON data; part of the key of cached features."""
    values: dict[str, Any] = {"kind": type(processor).__name__}
    for name in (*_FIELDS, "do_pad"):
        value = getattr(processor, name, None)
        if name in _SIZES and value is not None:
            value = {key: int(side) for key, side in dict(value).items() if side is not None}
        elif name == "resample" and value is not None:
            value = int(value)
        elif isinstance(value, tuple | list):
            value = [float(each) for each in value]
        values[name] = value
    return values


def _stated_padding(folder: Path) -> bool:
    """What a checkpoint says of `do_pad`; True where it says nothing, as LLaVA-1.5 was trained."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).exists():
            config = read_json(folder / name)
            config = config.get("image_processor", config)
            if isinstance(config, dict) and isinstance(config.get("do_pad"), bool):
                return bool(config["do_pad"])
    return True
