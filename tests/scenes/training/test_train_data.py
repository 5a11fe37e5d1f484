"""The arrays that training reads: texts, tokens, images and the patches of objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scenes.drawing.render import render
from scenes.language.captions import captions
from scenes.training.tokenizer import CONTEXT_LENGTH, Tokens
from scenes.training.train_data import CAPTIONS, REGIONS, covered_patches, prepare, scene_texts
from scenes.world.catalog import load_catalog
from scenes.world.sample import sample

COUNT = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train_data")
    prepare(out, count=COUNT, workers=1)
    return out


def test_the_fullest_patch_of_a_small_object_is_always_its_own() -> None:
    mask = np.zeros((96, 96), np.uint8)
    mask[14:16, 13:16] = 1
    mask[48:72, 48:96] = 2
    assert np.flatnonzero(covered_patches(mask, 0)).tolist() == [9]
    assert covered_patches(mask, 1).sum() == 2 * 4
    assert not covered_patches(mask, 2).any()


def test_the_texts_of_a_scene_are_in_a_fixed_order() -> None:
    texts, shown = scene_texts("pretrain", 3)
    said = captions(sample("pretrain", 3))
    assert len(texts) == CAPTIONS + REGIONS
    assert texts[:7] == [said.alt, *said.clean, said.dense]
    assert texts[7] in said.regions
    assert texts[8 : 8 + len(shown)] == [said.regions[i] for i in shown]
    assert set(texts[8 + len(shown) :]) <= {""}


def test_arrays_hold_images_tokens_and_types_of_the_split(folder: Path) -> None:
    images, tokens = np.load(folder / "images.npy"), np.load(folder / "tokens.npy")
    types = np.load(folder / "region_types.npy")
    encode = Tokens(folder / "tokenizer").encode
    assert tokens.shape == (COUNT, CAPTIONS, CONTEXT_LENGTH)
    for number in range(COUNT):
        texts, shown = scene_texts("pretrain", number)
        np.testing.assert_array_equal(images[number], render(sample("pretrain", number)).image)
        np.testing.assert_array_equal(tokens[number], encode(texts[:CAPTIONS]))
        names = [list(load_catalog().types)[place] for place in types[number] if place >= 0]
        assert names == [sample("pretrain", number).objects[i].type for i in shown]


def test_a_finished_folder_is_left_as_it_is(folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    prepare(folder, count=COUNT, workers=1)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert json.loads((folder / "done.json").read_text())["count"] == COUNT
