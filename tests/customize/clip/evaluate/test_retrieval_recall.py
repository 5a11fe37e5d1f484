"""Recall both ways with several captions an image, against a plain count."""

from __future__ import annotations

import numpy as np
import pytest

from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.features import EvalModel, unit
from customize.clip.evaluate.retrieval_recall import recall, retrieval_recall
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import CLASSES


def test_recall_is_what_sorting_every_list_gives() -> None:
    chance = np.random.default_rng(0)
    images = unit(chance.normal(size=(40, 8)).astype(np.float32))
    image_of = np.repeat(np.arange(40), 3)
    texts = unit(images[image_of] + 0.6 * chance.normal(size=(120, 8)).astype(np.float32))
    i2t, t2i = recall(images.astype(np.float32), texts.astype(np.float32), image_of)
    similarity = images @ texts.T
    for k in (1, 5, 10):
        first = np.argsort(-similarity, 1)[:, :k]
        assert i2t[k] == np.mean([number in image_of[first[number]] for number in range(40)])
        back = np.argsort(-similarity.T, 1)[:, :k]
        assert t2i[k] == np.mean([image_of[text] in back[text] for text in range(120)])


def test_equal_vectors_score_nothing() -> None:
    same = np.full((20, 4), 0.5, np.float32)
    i2t, t2i = recall(same, same, np.arange(20))
    assert i2t == t2i == {1: 0.0, 5: 0.0, 10: 0.0}


def test_an_image_is_found_by_any_of_its_captions(scenes_clip: EvalModel, pictures: list[Example]) -> None:
    four = [pictures[8 * number] for number in range(4)]
    said = [
        Example(one.key, one.open, one.labels, (f"a photo of a {name}", "something else"))
        for one, name in zip(four, CLASSES, strict=True)
    ]
    found = retrieval_recall(scenes_clip, in_memory("scenes", CLASSES, said), captions=1)
    assert (found.images, found.texts) == (4, 4)
    assert found.image_to_text[1] >= 0.5
    assert found.text_to_image[5] == 1.0
    assert retrieval_recall(scenes_clip, in_memory("scenes", CLASSES, said)).texts == 8


def test_an_image_without_captions_is_named(tiny: EvalModel, pictures: list[Example]) -> None:
    bare = Example("bare", pictures[0].open)
    with pytest.raises(BadInput, match="bare has no caption"):
        retrieval_recall(tiny, in_memory("scenes", (), [bare]))
