"""Customized models on disk: what loads where, with the same weights and features, and what the folder says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from customize.clip.model_folder import LoadedModel, load_base, load_customized, save_customized
from customize.clip.strategies import apply_strategy
from index.encoder import loading
from index.encoder.loading import load_encoder, model_config
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from tests.conftest import write_tiny_clip

TEXTS = ["a red circle", "a blue square on grass"]
DATA: dict[str, Any] = {"pairs": 1200, "source": "my tars"}


def trained(base: Path, strategy: str) -> LoadedModel:
    """A model whose trainable weights have moved."""
    loaded = load_base(ModelSpec(model_dir=str(base)), "cpu")
    apply_strategy(loaded.model, strategy)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.requires_grad and parameter.numel():
                parameter.add_(0.05)
    return loaded


def features(model: Any, preprocess: Any, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one picture and two texts."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    with torch.no_grad():
        return model.encode_image(preprocess(picture)[None]), model.encode_text(tokenizer(TEXTS))


def same(one: LoadedModel, other: LoadedModel) -> None:
    """The same weights to the bit, and the same features to rounding: weights that are mapped from a file are aligned
    in another way than allocated ones, and the kernels that a CPU chooses for them round in another way."""
    weights = other.model.state_dict()
    assert set(weights) == set(one.model.state_dict())
    assert all(torch.equal(weight, weights[name]) for name, weight in one.model.state_dict().items())
    expected = features(one.model, one.preprocess, one.tokenizer)
    for ours, theirs in zip(expected, features(other.model, other.preprocess, other.tokenizer), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


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
    name = f"local-dir:{tmp_path / 'out'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    same(loaded, LoadedModel(model.eval(), preprocess, open_clip.get_tokenizer(name), {}))


def test_a_gated_model_comes_back_with_the_same_features(gated: tuple[LoadedModel, Path]) -> None:
    loaded, folder = gated
    again = load_customized(folder, "cpu")
    same(loaded, again)
    assert not any(parameter.requires_grad for parameter in again.model.parameters())


def test_a_gated_folder_loads_as_an_encoder(gated: tuple[LoadedModel, Path]) -> None:
    loaded, folder = gated
    encoder = load_encoder(ModelSpec(model_dir=str(folder)), "cpu")
    expected = torch.nn.functional.normalize(features(loaded.model, loaded.preprocess, loaded.tokenizer)[1], dim=1)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS).astype(np.float32), expected.numpy(), atol=2e-3)
    assert encoder.fingerprint["weights"] != loaded.fingerprint["weights"]


LOAD = """
import sys
sys.path.append(sys.argv[2])  # the other packages, after Python's own
from importlib.metadata import entry_points
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
assert not entry_points(group="clipmine.model_extensions")
print(load_encoder(ModelSpec(model_dir=sys.argv[1]), "cpu").fingerprint["weights"], sys.modules["index"].__file__)
"""


def test_a_worker_with_our_packages_alone_loads_a_gated_model(gated: tuple[LoadedModel, Path], tmp_path: Path) -> None:
    """As Ray's py_modules and Spark's zip bring them: without installed metadata, so without entry points."""
    ours, others = tmp_path / "ours", tmp_path / "others"
    ours.mkdir()
    others.mkdir()
    for name in ("index", "retrieval", "mining", "customize"):
        package = Path(sys.modules["index"].__file__ or "").parents[1] / name
        shutil.copytree(package, ours / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in Path(torch.__file__).parents[1].iterdir():
        if "clipmine" not in path.name:
            (others / path.name).symlink_to(path)
    command = [sys.executable, "-S", "-c", LOAD, str(gated[1]), str(others)]
    clean = {**os.environ, "PYTHONPATH": str(ours)}
    done = subprocess.run(command, env=clean, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    weights, place = done.stdout.split()
    assert weights == load_encoder(ModelSpec(model_dir=str(gated[1])), "cpu").fingerprint["weights"]
    assert place == str(ours / "index" / "__init__.py")


def test_our_entry_points_are_those_that_workers_know() -> None:
    installed = {entry.name: entry.value for entry in entry_points(group="clipmine.model_extensions")}
    assert loading._OWN_EXTENSIONS.items() <= installed.items()


def test_an_extension_of_another_package_comes_by_its_entry_point(
    gated: tuple[LoadedModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    listed = "[clipmine.model_extensions]\nof-theirs = extend_as_theirs:extend\n"
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text(listed)
    (site / "extend_as_theirs.py").write_text("from customize.clip.gated import extend_model as extend\n")
    monkeypatch.syspath_prepend(site)
    copy = shutil.copytree(gated[1], tmp_path / "copy")
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["extension"]["name"] = "of-theirs"
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    loaded = load_encoder(ModelSpec(model_dir=str(copy)), "cpu")
    assert "extend_as_theirs" in sys.modules
    assert loaded.fingerprint["weights"] == load_customized(gated[1], "cpu").fingerprint["weights"]


def test_an_unknown_extension_is_named(gated: tuple[LoadedModel, Path], tmp_path: Path) -> None:
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
    """As REACT's fine-tuning on a task: the whole gated model is trained further, and comes back gated."""
    spec = ModelSpec(model_dir=str(gated[1]))
    loaded = load_base(spec, "cpu")
    apply_strategy(loaded.model, "full")
    save_customized(loaded.model, tmp_path / "out", spec, "full")
    same(gated[0], load_customized(tmp_path / "out", "cpu"))
    with pytest.raises(BadInput, match="strategy gated-text adds gated blocks, which the model has already"):
        apply_strategy(load_base(spec, "cpu").model, "gated-text")


def test_the_folder_says_what_it_was_made_of(base: Path, gated: tuple[LoadedModel, Path]) -> None:
    about = json.loads((gated[1] / "customize.json").read_text())
    assert about["card"]["data"] == DATA
    assert about["strategy"] == "gated-both"
    assert about["image_gates"] == about["text_gates"] == [0, 1]
    assert about["base"] == {"model_dir": base.name}  # without its path
    assert "## Data\n\n- pairs: 1200\n- source: my tars\n" in (gated[1] / "README.md").read_text()


def test_a_base_by_name_keeps_its_quick_gelu() -> None:
    assert model_config(ModelSpec("ViT-B-32", "openai"))["quick_gelu"] is True
    assert "quick_gelu" not in model_config(ModelSpec("ViT-B-32", "laion2b_s34b_b79k"))


def test_a_base_has_gradients_and_a_loaded_model_none(base: Path) -> None:
    assert all(weight.requires_grad for weight in load_base(ModelSpec(model_dir=str(base)), "cpu").model.parameters())
    assert not any(weight.requires_grad for weight in load_customized(base, "cpu").model.parameters())
