from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from index.encoder.clip_encoder import Encoder, check_model, load_encoder
from index.encoder.model_spec import ModelSpec, check_same_model, model_identity
from index.encoder.tokens import Tokenizer
from index.errors import BadInput, ClipmineError, ModelMismatch

TEXTS = [
    "a red circle",
    "",
    "a photo of two dogs, and a cat!",
    "blue " * 60,
    "café ☕ &amp; Straße",
    "<end_of_text> hi",
]


@pytest.fixture(scope="module")
def encoder(tiny_clip_dir: Path) -> Encoder:
    return load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")


@pytest.fixture
def registry(tiny_clip_dir: Path, tmp_path: Path) -> Iterator[str]:
    """The tiny CLIP in open_clip's registry, with two tags for the same weights: one of them is QuickGELU."""
    name = "tiny-clip-for-tests"
    config = json.loads((tiny_clip_dir / "open_clip_config.json").read_text())
    (tmp_path / f"{name}.json").write_text(json.dumps(config["model_cfg"]))
    weights = str(tiny_clip_dir / "open_clip_model.safetensors")
    open_clip.add_model_config(tmp_path / f"{name}.json")
    tags = {"quick": {"file": weights, "quick_gelu": True}, "plain_one": {"file": weights}}
    open_clip.pretrained._PRETRAINED[name] = tags
    yield name
    del open_clip.pretrained._PRETRAINED[name]
    del open_clip.factory._MODEL_CONFIGS[name]
    open_clip.factory._MODEL_CONFIG_PATHS.pop()


def random_images() -> list[Image.Image]:
    chance = np.random.default_rng(0)
    sizes = [(32, 32), (50, 33), (33, 50), (200, 31), (7, 9), (640, 480)]
    return [Image.fromarray(chance.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def copy_model(source: Path, target: Path, **changes: Any) -> Path:
    """A copy of a model folder, with changes to its preprocessing."""
    shutil.copytree(source, target)
    config = json.loads((target / "open_clip_config.json").read_text())
    config["preprocess_cfg"].update(changes)
    (target / "open_clip_config.json").write_text(json.dumps(config))
    return target


def test_vectors_are_open_clips_own_normalised_and_cast(encoder: Encoder, tiny_clip_dir: Path) -> None:
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tiny_clip_dir}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_clip_dir}")
    images = random_images()
    with torch.inference_mode():
        image = model.eval().encode_image(torch.stack([preprocess(image) for image in images]))
        text = model.encode_text(tokenizer(TEXTS))
    assert np.array_equal(encoder.encode_images(images), (image / image.norm(dim=-1, keepdim=True)).half().numpy())
    assert np.array_equal(encoder.encode_texts(TEXTS), (text / text.norm(dim=-1, keepdim=True)).half().numpy())


def test_rows_are_float16_of_unit_length_whatever_the_batch(encoder: Encoder) -> None:
    rows = encoder.encode_images(random_images(), batch_size=4)
    assert (str(rows.dtype), rows.shape) == ("float16", (6, encoder.dim))
    assert np.linalg.norm(rows.astype(np.float32), axis=1) == pytest.approx(1, abs=1e-3)
    assert encoder.encode_images([]).shape == (0, encoder.dim) == encoder.encode_texts([]).shape


@pytest.mark.parametrize(
    "changes",
    [{}, {"resize_mode": "squash"}, {"resize_mode": "longest", "fill_color": 9}, {"interpolation": "bilinear"}],
)
def test_normalising_a_batch_gives_the_transforms_bits(tiny_clip_dir: Path, tmp_path: Path, changes: Any) -> None:
    encoder = load_encoder(ModelSpec(model_dir=str(copy_model(tiny_clip_dir, tmp_path / "m", **changes))), "cpu")
    seen: list[torch.Tensor] = []
    encode_image = encoder.model.encode_image

    def watched(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor)
        features: torch.Tensor = encode_image(tensor)
        return features

    encoder.model.encode_image = watched
    encoder.encode_images(random_images())
    assert torch.equal(seen[0], torch.stack([encoder.preprocess(image) for image in random_images()]))


def test_a_model_is_loaded_once_and_again_when_its_folder_changes(tiny_clip_dir: Path, tmp_path: Path) -> None:
    folder = copy_model(tiny_clip_dir, tmp_path / "m")
    spec = ModelSpec(model_dir=str(folder))
    first = load_encoder(spec, "cpu")
    assert load_encoder(spec, "cpu") is first
    weights = load_file(folder / "open_clip_model.safetensors")
    save_file({name: tensor * 2 for name, tensor in weights.items()}, folder / "open_clip_model.safetensors")
    assert load_encoder(spec, "cpu").fingerprint["weights"] != first.fingerprint["weights"]


def test_quick_gelu_follows_the_tag_and_enters_the_fingerprint(registry: str) -> None:
    quick = load_encoder(ModelSpec(registry, "quick"), "cpu")
    plain = load_encoder(ModelSpec(registry, "Plain-One"), "cpu")  # open_clip folds case and hyphens of tags
    kinds = {type(module).__name__ for module in quick.model.modules()}
    assert "QuickGELU" in kinds
    assert quick.fingerprint["quick_gelu"]
    assert not plain.fingerprint["quick_gelu"]
    assert quick.fingerprint["weights"] == plain.fingerprint["weights"]
    assert not np.array_equal(quick.encode_texts(["a"]), plain.encode_texts(["a"]))
    with pytest.raises(ModelMismatch, match=r"the store S was made with .* another quick_gelu"):
        check_same_model(plain.fingerprint, quick.fingerprint, "the store S")


def test_one_model_has_one_fingerprint_by_name_and_as_a_folder(
    registry: str, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    named = load_encoder(ModelSpec(registry, "plain_one"), "cpu")
    mean, std = named.fingerprint["preprocessing"]["mean"], named.fingerprint["preprocessing"]["std"]
    folder = load_encoder(
        ModelSpec(model_dir=str(copy_model(tiny_clip_dir, tmp_path / "m", mean=mean, std=std))), "cpu"
    )
    check_same_model(named.fingerprint, folder.fingerprint, "the store")
    with pytest.raises(ModelMismatch, match="another preprocessing"):
        check_same_model(
            named.fingerprint, load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu").fingerprint, "the store"
        )
    assert json.loads(json.dumps(named.fingerprint)) == named.fingerprint


def test_random_weights_follow_their_seed_and_leave_torchs_generator_alone(registry: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load_encoder(ModelSpec(registry, random_seed=1), "cpu")
    assert torch.equal(torch.rand(1), expected)
    other = load_encoder(ModelSpec(registry, random_seed=2), "cpu")
    load_encoder.__globals__["_load"].cache_clear()
    again = load_encoder(ModelSpec(registry, random_seed=1), "cpu")
    assert again is not first
    assert again.fingerprint == first.fingerprint != other.fingerprint


def test_half_precision_arithmetic_keeps_the_fingerprint(tiny_clip_dir: Path, encoder: Encoder) -> None:
    half = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir), precision="bf16"), "cpu")
    assert half.fingerprint == encoder.fingerprint
    a, b = half.encode_images(random_images()), encoder.encode_images(random_images())
    assert not np.array_equal(a, b)
    assert (a.astype(np.float32) * b).sum(axis=1) == pytest.approx(1, abs=0.02)


def test_unknown_names_and_tags_list_what_there_is() -> None:
    with pytest.raises(BadInput, match=r"unknown model 'ViT-B32': did you mean ViT-B-32"):
        check_model(ModelSpec("ViT-B32", "openai"))
    with pytest.raises(BadInput, match=r"has no tag 'opnai': its tags are openai, laion400m_e31"):
        check_model(ModelSpec("ViT-B-32", "opnai"))
    with pytest.raises(BadInput, match="needs a tag: its tags are openai"):
        check_model(ModelSpec("ViT-B-32"))
    check_model(ModelSpec("ViT-B-32", "openai"))


def test_specs_that_say_two_things_or_nothing_are_bad_input(tmp_path: Path) -> None:
    for wrong in ({}, {"name": "a", "model_dir": "b"}, {"name": "a", "pretrained": "b", "random_seed": 1}):
        with pytest.raises(BadInput):
            ModelSpec(**wrong)
    with pytest.raises(BadInput, match="unknown precision"):
        ModelSpec("a", "b", precision="int8")  # type: ignore[arg-type]


def test_weights_that_cannot_be_downloaded_are_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ClipmineError, match=r"model ViT-B-32 \(openai\): could not be loaded .* --model-dir") as raised:
        load_encoder(ModelSpec("ViT-B-32", "openai"), "cpu")
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_no_model_says_what_is_wrong(tiny_clip_dir: Path, tmp_path: Path) -> None:
    def problem(folder: Path) -> str:
        with pytest.raises(BadInput) as raised:
            load_encoder(ModelSpec(model_dir=str(folder)), "cpu")
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "no such model folder" in problem(tmp_path / "nowhere")
    assert "has no open_clip_config.json" in problem(tmp_path)
    folder = copy_model(tiny_clip_dir, tmp_path / "m")
    weights = folder / "open_clip_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if name != "text_projection"}, weights)
    assert "do not fit" in problem(folder)
    weights.write_bytes(b"junk")
    assert "do not fit" in problem(folder)
    weights.rename(folder / "open_clip_pytorch_model.bin")
    assert "pickled weights (open_clip_pytorch_model.bin)" in problem(folder)
    (folder / "open_clip_pytorch_model.bin").unlink()
    assert "has no weights" in problem(folder)
    (folder / "open_clip_config.json").write_text("{")
    assert "cannot be read as JSON" in problem(folder)
    (folder / "open_clip_config.json").write_text("{}")
    assert "has no model_cfg" in problem(folder)


def test_a_pickle_beside_safetensors_is_never_opened(tiny_clip_dir: Path, tmp_path: Path, encoder: Encoder) -> None:
    folder = copy_model(tiny_clip_dir, tmp_path / "m")
    # open_clip itself would prefer this name to safetensors of another name.
    (folder / "open_clip_model.safetensors").rename(folder / "weights.safetensors")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"would fail if it were opened")
    assert load_encoder(ModelSpec(model_dir=str(folder)), "cpu").fingerprint == encoder.fingerprint


def test_a_folders_identity_is_its_content_and_not_its_place(tiny_clip_dir: Path, tmp_path: Path) -> None:
    here, there = (
        ModelSpec(model_dir=str(tiny_clip_dir)),
        ModelSpec(model_dir=str(copy_model(tiny_clip_dir, tmp_path / "m", size=32))),
    )
    assert model_identity(here) == model_identity(
        ModelSpec(model_dir=str(shutil.copytree(tiny_clip_dir, tmp_path / "n")))
    )
    assert model_identity(here) != model_identity(there)
    assert str(tiny_clip_dir) not in json.dumps(model_identity(here))


def test_tokens_are_open_clips_and_cut_texts_are_counted(encoder: Encoder) -> None:
    expected = open_clip.SimpleTokenizer(context_length=24)(TEXTS)
    tokens = encoder.tokenize(TEXTS)
    assert torch.equal(tokens.ids, expected)
    assert tokens.cut == [False, False, False, True, False, False]
    assert encoder.tokenize(["a " * 22]).cut == [False]  # 22 words and two end marks fill a context of 24
    assert encoder.tokenize(["a " * 23]).cut == [True]
    assert encoder.count_long([*TEXTS, "a " * 23]) == 2


def test_a_word_of_a_megabyte_does_not_stop_the_tokenizer(encoder: Encoder) -> None:
    start = time.process_time()
    tokens = encoder.tokenize(["q" * 1_000_000, "many words " * 100_000])
    assert tokens.cut == [True, True]
    assert time.process_time() - start < 5
    longest = max(len(piece.encode()) for piece in open_clip.SimpleTokenizer().encoder)
    assert longest * 77 <= 5_000  # so no token of a full context lies beyond the part of a word that is read


def test_hugging_face_tokenizers_count_what_they_cut_in_any_thread(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Tokenizers
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizers(WordLevel({"[PAD]": 0, "[EOS]": 1, "[UNK]": 2, "a": 3, "b": 4}, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(single="$A [EOS]", special_tokens=[("[EOS]", 1)])
    marks: Any = {"pad_token": "[PAD]", "eos_token": "[EOS]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **marks).save_pretrained(tmp_path)  # type: ignore[no-untyped-call]
    tokenizer = Tokenizer(open_clip.tokenizer.HFTokenizer(str(tmp_path), context_length=4), 4)
    texts = ["a", "a b a", "a b a b", "a " * 50, ""]
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(tokenizer(texts))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.cut for result in results] == [[False, False, True, True, False]] * 4
    assert results[0].ids.tolist()[:3] == [[3, 1, 0, 0], [3, 4, 3, 1], [3, 4, 3, 1]]


class TestQueries:
    """`encode_queries` leaves out what padding would cost, and nothing else."""

    def test_gives_what_encode_texts_gives_up_to_rounding(self, tiny_clip_dir: Path) -> None:
        encoder = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")
        texts = ["a dog", "", "a photo of a red circle beside a blue square", "word " * 60]
        rows, cut = encoder.encode_queries(texts)
        assert np.abs(rows.astype(np.float32) - encoder.encode_texts(texts).astype(np.float32)).max() < 2e-3
        assert cut == [False, False, False, True]

    def test_a_text_has_one_vector_up_to_rounding_whatever_its_company(self, tiny_clip_dir: Path) -> None:
        encoder = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")
        texts = [f"a photo of {'very ' * (number % 7)}thing {number}" for number in range(70)]
        together, _ = encoder.encode_queries(texts)
        alone = np.concatenate([encoder.encode_queries([text])[0] for text in texts])
        assert np.abs(together.astype(np.float32) - alone.astype(np.float32)).max() < 1e-3
