from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from index.encoder.clip_encoder import Encoder
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from tests.index.encoder.conftest import TEXTS, copy_model, random_images


def test_vectors_are_open_clips_own_normalised_and_cast(encoder: Encoder, tiny_clip_dir: Path) -> None:
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tiny_clip_dir}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_clip_dir}")
    images = random_images()
    with torch.inference_mode():
        image = model.eval().encode_image(torch.stack([preprocess(image) for image in images]))
        text = model.encode_text(tokenizer(TEXTS))
    expected = [(features / features.norm(dim=-1, keepdim=True)).numpy() for features in (image, text)]
    # Within float16 rounding, not to the bit: the two models have other addresses in memory, and on some CPUs the last
    # bits of a matrix product depend on the alignment.
    np.testing.assert_allclose(encoder.encode_images(images), expected[0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected[1], rtol=0, atol=1e-3)


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


def test_half_precision_arithmetic_keeps_the_fingerprint(tiny_clip_dir: Path, encoder: Encoder) -> None:
    half = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir), precision="bf16"), "cpu")
    assert half.fingerprint == encoder.fingerprint
    a, b = half.encode_images(random_images()), encoder.encode_images(random_images())
    assert not np.array_equal(a, b)
    assert (a.astype(np.float32) * b).sum(axis=1) == pytest.approx(1, abs=0.02)


class TestQueries:
    """`encode_queries` leaves out what padding would cost, and nothing else."""

    @pytest.mark.parametrize("repeatable", [True, False])
    def test_gives_what_encode_texts_gives_up_to_rounding(self, encoder: Encoder, repeatable: bool) -> None:
        texts = ["a dog", "", "a photo of a red circle beside a blue square", "word " * 60]
        rows, cut = encoder.encode_queries(texts, repeatable=repeatable)
        assert np.abs(rows.astype(np.float32) - encoder.encode_texts(texts).astype(np.float32)).max() < 2e-3
        assert cut == [False, False, False, True]

    def test_a_text_has_one_vector_to_the_bit_whatever_is_encoded_with_it(self, encoder: Encoder) -> None:
        texts = [f"a photo of {'very ' * (number % 7)}thing {number}" for number in range(70)]
        together, _ = encoder.encode_queries(texts)
        backwards, _ = encoder.encode_queries(texts[::-1])
        alone = np.concatenate([encoder.encode_queries([text])[0] for text in texts])
        assert np.array_equal(together, backwards[::-1])
        assert np.array_equal(together, alone)

    def test_no_texts_give_no_rows(self, encoder: Encoder) -> None:
        rows, cut = encoder.encode_queries([])
        assert (rows.shape, cut) == ((0, encoder.dim), [])
