"""Loading models from every layout, and what is said of checkpoints that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from customize.lmm.model.adapter import with_adapter
from customize.lmm.model.load import Lmm, bare_model, load_lmm
from customize.lmm.model.source import LmmSource
from index.errors import BadInput
from tests.customize.lmm.model.checkpoints import (
    original_projector,
)


def photo(width: int = 40, height: int = 20) -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def logits(lmm: Lmm, text: str = "ab<image>c", image: Image.Image | None = None) -> torch.Tensor:
    inputs = lmm.processor(images=[image or photo()], text=[text], return_tensors="pt")
    with torch.inference_mode():
        found: torch.Tensor = lmm.model(**inputs).logits
    return found


def test_a_folder_of_transformers_computes_what_transformers_computes(checkpoints: Path, lmm: Lmm) -> None:
    from transformers import LlavaForConditionalGeneration

    assert (lmm.image_token_id, lmm.image_tokens) == (3, 4)
    assert lmm.processor.tokenizer is lmm.tokenizer
    assert not lmm.model.training
    assert not any(weight.requires_grad for weight in lmm.model.parameters())
    plain: Any = LlavaForConditionalGeneration.from_pretrained(checkpoints / "llava")
    inputs = lmm.processor(images=[photo()], text=["ab<image>c"], return_tensors="pt")
    assert int((inputs["input_ids"] == 3).sum()) == 4
    with torch.inference_mode():
        assert torch.equal(lmm.model(**inputs).logits, plain.eval()(**inputs).logits)


def test_images_are_padded_to_a_square_unless_the_checkpoint_or_the_user_says_no(checkpoints: Path) -> None:
    source = str(checkpoints / "llava")
    padded = load_lmm(LmmSource(model=source)).processor.image_processor
    cropped = load_lmm(LmmSource(model=source, pad_to_square=False)).processor.image_processor
    assert (padded.do_pad, cropped.do_pad) == (True, False)
    pixels = padded(images=[photo()], return_tensors="pt")["pixel_values"][0]
    # A picture twice as wide as high has bands of the mean colour, which is 0 after normalization.
    assert float(pixels[:, 0].abs().max()) < 0.02
    assert float(pixels[:, 14].abs().max()) > 0.5


def test_a_projector_of_another_width_is_one_line(checkpoints: Path, tmp_path: Path) -> None:
    torch.save(original_projector(48, 32), tmp_path / "mm_projector.bin")
    with pytest.raises(BadInput, match="projects features of width 48 to 32"):
        load_lmm(LmmSource(model=str(checkpoints / "llava"), projector=str(tmp_path / "mm_projector.bin")))


def test_weights_may_be_bfloat16_and_have_the_same_hashes(checkpoints: Path) -> None:
    source = LmmSource(model=str(checkpoints / "llava"))
    wide, narrow = load_lmm(source), load_lmm(source, dtype="bfloat16")
    assert {weight.dtype for weight in narrow.model.parameters()} == {torch.bfloat16}
    assert narrow.source == wide.source
    with pytest.raises(BadInput, match="choose float32, bfloat16 or float16"):
        load_lmm(source, dtype="int8")


def edited(checkpoints: Path, tmp_path: Path, part: str, edit: Any) -> str:
    """A copy of a checkpoint with its weights edited."""
    folder = tmp_path / part
    shutil.copytree(checkpoints / part, folder)
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_missing_unexpected_and_misshapen_weights_are_one_line(checkpoints: Path, tmp_path: Path) -> None:
    name = "multi_modal_projector.linear_1.weight"
    missing = edited(checkpoints, tmp_path / "1", "llava", lambda weights: weights.pop(name))
    with pytest.raises(BadInput, match=r"weights are missing: .*linear_1\.weight"):
        load_lmm(LmmSource(model=missing))
    more = edited(checkpoints, tmp_path / "2", "llava", lambda weights: weights.update(extra=torch.zeros(1)))
    with pytest.raises(BadInput, match="weights belong to no part of the model: extra"):
        load_lmm(LmmSource(model=more))
    misshapen = edited(checkpoints, tmp_path / "3", "llava", lambda weights: weights.update({name: torch.zeros(2, 2)}))
    with pytest.raises(BadInput, match="llava: "):
        load_lmm(LmmSource(model=misshapen))


def test_a_damaged_weights_file_is_one_line(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "llava", tmp_path / "llava")
    file = tmp_path / "llava" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BadInput, match="llava: cannot be loaded") as caught:
        load_lmm(LmmSource(model=str(tmp_path / "llava")))
    assert "\n" not in str(caught.value)


def test_an_image_token_that_the_tokenizer_does_not_have_is_one_line(checkpoints: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoints / "llava", tmp_path / "llava")
    config = json.loads((tmp_path / "llava" / "config.json").read_text())
    (tmp_path / "llava" / "config.json").write_text(json.dumps(config | {"image_token_index": 7}))
    with pytest.raises(BadInput, match=r"image token 7 of its config\.json is not <image>"):
        load_lmm(LmmSource(model=str(tmp_path / "llava")))


def test_the_bare_model_is_found_within_wrappers(lmm: Lmm) -> None:
    from peft import LoraConfig

    class Wrapped(torch.nn.Module):
        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

    inner = lmm.model
    adapted = with_adapter(inner, LoraConfig(r=2, target_modules=r".*language_model.*q_proj"))
    assert bare_model(inner) is inner
    assert bare_model(Wrapped(adapted)) is inner
