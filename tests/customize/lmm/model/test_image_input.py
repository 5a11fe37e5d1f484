"""Image processors of towers, and how many tokens an image becomes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from customize.lmm.model.image_input import (
    describe_preprocessing,
    image_pixels,
    image_processor,
    image_token_count,
    make_processor,
)
from index.errors import BadInput
from index.files import hash_json
from tests.customize.lmm.model.checkpoints import SHAPE, plain_tokenizer
from tests.mining.tiny_llava import tiny_llava, tiny_processor


def tower(**more: Any) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(CLIPVisionConfig(**SHAPE, image_size=28, patch_size=14, **more))


def siglip(folder: Path) -> Any:
    """A tower without CLS, whose processor scales to a square without cropping."""
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    SiglipImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder)
    return SiglipVisionModel(SiglipVisionConfig(**SHAPE, image_size=28, patch_size=14))


def test_tokens_are_counted_from_the_towers_shapes(checkpoints: Path, tmp_path: Path) -> None:
    clip = image_processor(checkpoints / "clip", None)
    assert image_token_count(tower(), clip, "default") == 4
    assert image_token_count(tower(), clip, "full") == 5
    without_cls = siglip(tmp_path)
    assert image_token_count(without_cls, image_processor(tmp_path, None), "full") == 4


def test_a_tower_for_another_size_than_its_processor_is_one_line(checkpoints: Path) -> None:
    clip = image_processor(checkpoints / "clip", None)
    clip.crop_size = {"height": 56, "width": 56}
    with pytest.raises(BadInput, match="does not take the images of its processor, 56 x 56 pixels"):
        image_token_count(tower(), clip, "default")


def test_a_file_becomes_the_towers_pixels_or_one_line() -> None:
    from PIL import Image

    Image.new("RGB", (9, 30), "white").save(file := io.BytesIO(), "PNG")
    pixels = image_pixels(tiny_processor(), file.getvalue())
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.float32, (3, 28, 28))
    with pytest.raises(BadInput, match=r"^cannot be used \("):
        image_pixels(tiny_processor(), b"\x89PNG\r\n\x1a\nbroken")


@pytest.mark.parametrize(("select", "tokens"), [("default", 4), ("full", 5)])
def test_the_processor_writes_as_many_tokens_as_there_are_features(checkpoints: Path, select: str, tokens: int) -> None:
    config = tiny_llava().config
    config.vision_feature_select_strategy = select
    tokenizer = plain_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config.image_token_index = tokenizer.convert_tokens_to_ids("<image>")
    processor = make_processor(image_processor(checkpoints / "clip", None), tokenizer, config, tokens, None)
    from PIL import Image

    made = processor(images=[Image.new("RGB", (9, 30))] * 2, text=["a<image>b<image>"], return_tensors="pt")
    assert int((made["input_ids"] == config.image_token_index).sum()) == 2 * tokens
    assert made["pixel_values"].shape == (2, 3, 28, 28)


def test_a_processor_without_a_crop_scales_to_its_square(tmp_path: Path) -> None:
    from PIL import Image

    siglip(tmp_path)
    processor = image_processor(tmp_path, False)
    assert not processor.do_center_crop
    assert processor(images=[Image.new("RGB", (90, 30))], return_tensors="pt")["pixel_values"].shape == (1, 3, 28, 28)


def test_the_description_is_json_and_differs_where_pixels_do(checkpoints: Path) -> None:
    padded, cropped = (image_processor(checkpoints / "clip", pad) for pad in (True, False))
    described = describe_preprocessing(padded)
    assert described["crop_size"] == {"height": 28, "width": 28}
    assert described["do_pad"]
    assert hash_json(described) == hash_json(describe_preprocessing(image_processor(checkpoints / "clip", None)))
    assert hash_json(described) != hash_json(describe_preprocessing(cropped))


def test_padding_has_the_mean_colour_on_both_sides(checkpoints: Path) -> None:
    from PIL import Image

    pixels = image_processor(checkpoints / "clip", True)(images=[Image.new("RGB", (28, 14))], return_tensors="pt")
    picture = pixels["pixel_values"][0]
    assert torch.stack([picture[:, 0], picture[:, -1]]).abs().max() < 0.02
    assert (picture[:, 14] < -1).all(), "black is far below the mean"
