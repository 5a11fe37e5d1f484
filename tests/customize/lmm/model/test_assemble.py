"""Models put together of halves, and LLaVA's own layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from customize.lmm.model.assemble import original_tower
from customize.lmm.model.load import load_lmm
from customize.lmm.model.source import LmmSource
from index.errors import BadInput
from tests.customize.lmm.model.checkpoints import (
    original_projector,
    plain_tokenizer,
    write_clip,
    write_llama,
    write_original,
)
from tests.customize.lmm.model.test_load import logits


def test_two_halves_become_a_model_with_new_tokens_and_a_seeded_projector(checkpoints: Path) -> None:
    halves = LmmSource(vision_tower=str(checkpoints / "clip"), language_model=str(checkpoints / "llama"))
    lmm, again, other = (load_lmm(halves, seed=seed) for seed in (0, 0, 1))
    assert (lmm.image_token_id, lmm.image_tokens, lmm.tokenizer.pad_token_id) == (258, 4, 259)
    assert lmm.model.config.vision_feature_layer == -2
    assert lmm.model.config.projector_hidden_act == "gelu"
    assert lmm.model.generation_config.pad_token_id == 259
    assert torch.equal(logits(lmm), logits(again))
    assert not torch.equal(logits(lmm), logits(other))
    assert lmm.source["vision_tower"] == other.source["vision_tower"]
    assert lmm.source["projector"] != other.source["projector"]
    assert lmm.source["names"] == {"vision_tower": {"name": "clip"}, "language_model": {"name": "llama"}}


def test_the_halves_keep_their_own_weights(checkpoints: Path) -> None:
    from transformers import CLIPModel, LlamaForCausalLM

    halves = LmmSource(vision_tower=str(checkpoints / "clip"), language_model=str(checkpoints / "llama"))
    lmm = load_lmm(halves)
    clip: Any = CLIPModel.from_pretrained(checkpoints / "clip")
    llama: Any = LlamaForCausalLM.from_pretrained(checkpoints / "llama")
    ids = torch.tensor([[0, 5, 6]])
    with torch.inference_mode():
        # Not bit for bit: products with 260 output rows instead of 258 may be summed in another order.
        torch.testing.assert_close(lmm.model(input_ids=ids).logits[..., :258], llama.eval()(input_ids=ids).logits)
        pixels = torch.randn(1, 3, 28, 28)
        mine, theirs = lmm.llava.model.vision_tower(pixels), clip.eval().vision_model(pixels)
    assert torch.equal(mine.last_hidden_state, theirs.last_hidden_state)


def test_a_projector_file_decides_the_kind_of_a_new_model(checkpoints: Path, tmp_path: Path) -> None:
    torch.save(original_projector(32, 32, "linear"), tmp_path / "mm_projector.bin")
    source = LmmSource(
        vision_tower=str(checkpoints / "clip"),
        language_model=str(checkpoints / "llama"),
        projector=str(tmp_path / "mm_projector.bin"),
    )
    lmm = load_lmm(source)
    assert lmm.model.config.projector_hidden_act == "linear"
    assert torch.equal(lmm.model.model.multi_modal_projector.linear_2.weight, torch.eye(32))
    assert lmm.source["names"]["projector"] == {"name": "mm_projector.bin"}


@pytest.mark.parametrize("pickled", [False, True])
def test_llavas_own_layout_equals_its_parts(checkpoints: Path, tmp_path: Path, pickled: bool) -> None:
    write_original(tmp_path / "original", str(checkpoints / "clip"), pickled)
    torch.save(original_projector(32, 32), tmp_path / "mm_projector.bin")
    lmm = load_lmm(LmmSource(model=str(tmp_path / "original")))
    parts = LmmSource(
        vision_tower=str(checkpoints / "clip"),
        language_model=str(checkpoints / "llama"),
        projector=str(tmp_path / "mm_projector.bin"),
    )
    assert torch.equal(logits(lmm), logits(load_lmm(parts)))
    assert lmm.processor.image_processor.do_pad


def test_llavas_own_layout_may_bring_its_tower_beside_it(checkpoints: Path, tmp_path: Path) -> None:
    write_original(tmp_path / "original", "tower")
    shutil.copytree(checkpoints / "clip", tmp_path / "original" / "tower")
    assert load_lmm(LmmSource(model=str(tmp_path / "original"))).image_tokens == 4


def test_halves_that_are_no_halves_are_one_line(checkpoints: Path, tmp_path: Path) -> None:
    clip, llama, llava = (str(checkpoints / name) for name in ("clip", "llama", "llava"))
    with pytest.raises(BadInput, match="which is no vision tower"):
        load_lmm(LmmSource(vision_tower=llama, language_model=llama))
    with pytest.raises(BadInput, match="is a model with images already"):
        load_lmm(LmmSource(vision_tower=clip, language_model=llava))
    with pytest.raises(BadInput, match="has 2 layers"):
        load_lmm(LmmSource(vision_tower=clip, language_model=llama, vision_feature_layer=-5))
    bare = write_clip(tmp_path / "bare")
    for file in bare.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(BadInput, match="describes no image processor"):
        load_lmm(LmmSource(vision_tower=str(bare), language_model=llama))
    endless = plain_tokenizer()
    endless.eos_token = None
    write_llama(tmp_path / "endless", endless)
    with pytest.raises(BadInput, match="no end-of-sequence token"):
        load_lmm(LmmSource(vision_tower=clip, language_model=str(tmp_path / "endless")))


def test_llavas_own_layout_may_have_a_linear_projector_and_the_frozen_tower_in_it(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = write_original(tmp_path / "original", str(checkpoints / "clip"))
    weights = load_file(folder / "model.safetensors")
    weights = {name: tensor for name, tensor in weights.items() if "mm_projector" not in name}
    weights |= original_projector(32, 32, "linear")
    weights["model.vision_tower.vision_tower.vision_model.pre_layrnorm.bias"] = torch.zeros(32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    lmm = load_lmm(LmmSource(model=str(folder)))
    assert lmm.model.config.projector_hidden_act == "linear"
    assert torch.equal(lmm.model.model.multi_modal_projector.linear_1.bias, weights["model.mm_projector.bias"])


def test_pickled_shards_are_opened_where_their_index_names_the_projector(checkpoints: Path, tmp_path: Path) -> None:
    folder = write_original(tmp_path / "original", str(checkpoints / "clip"), pickled=True)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    shards = {"pytorch_model-00001-of-00002.bin": False, "pytorch_model-00002-of-00002.bin": True}
    places: dict[str, str] = {}
    for file, projector in shards.items():
        own = {name: tensor for name, tensor in weights.items() if ("mm_projector" in name) == projector}
        torch.save(own, folder / file)
        places |= dict.fromkeys(own, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    lmm = load_lmm(LmmSource(model=str(folder)))
    expected = weights["model.mm_projector.2.bias"]
    assert torch.equal(lmm.model.model.multi_modal_projector.linear_2.bias, expected)


def test_a_tower_that_is_not_there_is_named_with_the_checkpoint(tmp_path: Path) -> None:
    write_original(tmp_path / "original", "./gone/clip")
    with pytest.raises(BadInput, match=r"\./gone/clip: there is no such folder; the vision tower of .*original"):
        original_tower(tmp_path / "original")
