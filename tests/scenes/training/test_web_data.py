from __future__ import annotations

from pathlib import Path

import numpy as np

from scenes.drawing.render import render
from scenes.language.captions import captions
from scenes.training.tokenizer import Tokens
from scenes.training.web_data import CONTEXT, IMAGE_SIZE, pairs_of, prepare_web
from scenes.world.sample import sample


def test_the_arrays_hold_the_pictures_and_alt_texts_in_order(tmp_path: Path) -> None:
    prepare_web(tmp_path / "arrays", tmp_path / "tars", 6, workers=1)
    images, tokens = (np.load(tmp_path / "arrays" / f"{name}.npy") for name in ("images", "tokens"))
    scene = sample("web_pretrain", 5)
    drawn = render(scene, IMAGE_SIZE).image.astype(int)
    assert abs(images[5].astype(int) - drawn).mean() < 6  # JPEG
    said = captions(scene).alt
    assert (tokens[5] == Tokens(tmp_path / "arrays" / "tokenizer", CONTEXT).encode([said])[0]).all()
    assert [text for _, text in pairs_of(tmp_path / "tars")][5] == said
