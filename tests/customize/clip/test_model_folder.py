"""Customized models on disk: what loads where, with the same answers, and what the card says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from customize.clip.model_folder import LoadedModel, load_base, load_customized, save_customized
from customize.clip.strategies import apply_strategy
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from tests.conftest import write_tiny_clip

TEXTS = ["a red circle", "a blue square on grass"]
DATA: dict[str, Any] = {
    "rows": 1200,
    "concepts": 2,
    "rows_by_concept": {"dog": 700, "horse | pony": 500},
    "mode": "t2i",
    "k": 600,
    "templates": {"name": "simple", "texts": ["a photo of a {}."]},
    "hits": 1500,
    "rules": {"cap": 700},
    "losses": {"cap": 300},
    "store": {"rows": 20000, "identity": "41fefd68", "model": {"name": "local-dir", "weights": "03c29b61"}},
}


def trained(base: Path, strategy: str) -> LoadedModel:
    """A model whose trainable weights have moved."""
    loaded = load_base(ModelSpec(model_dir=str(base)), "cpu")
    apply_strategy(loaded.model, strategy)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.requires_grad and parameter.numel():
                parameter.add_(0.05)
    return loaded


def answers(model: Any, preprocess: Any, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    with torch.no_grad():
        return model.encode_image(preprocess(picture)[None]), model.encode_text(tokenizer(TEXTS))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def gated(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Path]:
    """A model with gated blocks in both towers, and the folder it was saved to."""
    folder = tmp_path_factory.mktemp("gated") / "model"
    loaded = trained(base, "gated-both")
    card = {"data": DATA, "training": {"steps": 300, "lr": 5e-4}}
    save_customized(loaded.model, folder, ModelSpec(model_dir=str(base)), "gated-both", card)
    return loaded, folder


def test_a_model_without_gated_blocks_loads_in_plain_open_clip(base: Path, tmp_path: Path) -> None:
    loaded = trained(base, "locked-text")
    save_customized(loaded.model, tmp_path / "out", ModelSpec(model_dir=str(base)), "locked-text")
    expected = answers(loaded.model, loaded.preprocess, loaded.tokenizer)
    name = f"local-dir:{tmp_path / 'out'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    for mine, theirs in zip(expected, answers(model.eval(), preprocess, open_clip.get_tokenizer(name)), strict=True):
        assert torch.equal(mine, theirs)


def test_a_gated_model_comes_back_with_the_same_answers(gated: tuple[LoadedModel, Path]) -> None:
    loaded, folder = gated
    again = load_customized(folder, "cpu")
    expected = answers(loaded.model, loaded.preprocess, loaded.tokenizer)
    for mine, theirs in zip(expected, answers(again.model, again.preprocess, again.tokenizer), strict=True):
        assert torch.equal(mine, theirs)
    assert not any(parameter.requires_grad for parameter in again.model.parameters())


def test_every_road_to_an_encoder_takes_a_gated_folder(gated: tuple[LoadedModel, Path]) -> None:
    loaded, folder = gated
    encoder = load_encoder(ModelSpec(model_dir=str(folder)), "cpu")
    expected = torch.nn.functional.normalize(answers(loaded.model, loaded.preprocess, loaded.tokenizer)[1], dim=1)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS).astype(np.float32), expected.numpy(), atol=2e-3)
    assert encoder.fingerprint["weights"] != loaded.fingerprint["weights"]


def test_an_extension_that_nobody_provides_names_the_way_out(gated: tuple[LoadedModel, Path], tmp_path: Path) -> None:
    _, folder = gated
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["extension"]["name"] = "of-another-package"
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"extension 'of-another-package', which no installed package provides"):
        load_encoder(ModelSpec(model_dir=str(copy)), "cpu")


def test_a_gated_model_is_a_base_for_what_adds_no_gates(gated: tuple[LoadedModel, Path], tmp_path: Path) -> None:
    """REACT's own fine-tuning on the task: the gated model goes on as a whole, and comes back gated."""
    spec = ModelSpec(model_dir=str(gated[1]))
    loaded = load_base(spec, "cpu")
    apply_strategy(loaded.model, "full")
    save_customized(loaded.model, tmp_path / "out", spec, "full")
    again = load_customized(tmp_path / "out", "cpu")
    expected = answers(gated[0].model, gated[0].preprocess, gated[0].tokenizer)
    for mine, theirs in zip(expected, answers(again.model, again.preprocess, again.tokenizer), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(BadInput, match="strategy gated-text adds gated blocks, which the model has already"):
        apply_strategy(load_base(spec, "cpu").model, "gated-text")


def test_the_card_says_what_it_was_trained_on_and_how_to_load_it(gated: tuple[LoadedModel, Path]) -> None:
    card = (gated[1] / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: open_clip\n")
    for fact in ("gated-both", "1,200 image-text pairs of 2 concepts", "41fefd68", "| cap | 300 |", "load_customized"):
        assert fact in card
    assert "horse \\| pony" in card
    about = json.loads((gated[1] / "customize.json").read_text())
    assert about["card"]["data"] == DATA
    assert about["image_gates"] == [0, 1]


def test_a_base_by_name_keeps_its_quick_gelu(tmp_path: Path) -> None:
    from customize.clip.model_folder import _describe_base
    from index.encoder.loading import model_config

    assert model_config(ModelSpec("ViT-B-32", "openai"))["quick_gelu"] is True
    assert "quick_gelu" not in model_config(ModelSpec("ViT-B-32", "laion2b_s34b_b79k"))
    assert _describe_base(ModelSpec(model_dir="/some/where/clip")) == {"model_dir": "clip"}
