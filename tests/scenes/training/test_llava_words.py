"""Words that patches show: targets from the truth, and a loss that falls when tokens are similar to the right words."""

from __future__ import annotations

import numpy as np
import torch

from scenes.drawing.render import render
from scenes.training.llava_data import tokenizer_texts
from scenes.training.llava_images import coverage
from scenes.training.llava_model import VOCABULARY, fresh_model, train_tokenizer
from scenes.training.llava_tower import tower_of_clip
from scenes.training.llava_words import NOTHING, word_ids, word_loss, word_targets
from scenes.world.easy import EASY_TYPES, easy_scene
from scenes.world.words import COLORS


def test_every_object_has_a_patch_that_names_it() -> None:
    numbers = range(12)
    scenes = [easy_scene("language", number) for number in numbers]
    covered = np.stack([coverage(render(scene).mask) for scene in scenes])
    targets = word_targets("language", numbers, covered)
    assert targets.shape == (12, 4, 16)
    named = [{EASY_TYPES[kind] for kind in kinds if kind != NOTHING} for kinds in targets[:, 0]]
    whole = [{thing.type for thing in scene.objects} for scene in scenes]
    assert all(found <= true for found, true in zip(named, whole, strict=True))
    assert sum(map(len, named)) >= 0.9 * sum(map(len, whole))  # two objects may share their fullest patch
    assert ((targets[:, 0] == NOTHING) == (targets[:, 1] == NOTHING)).all()


def test_the_loss_is_small_for_tokens_like_the_right_words() -> None:
    tokenizer = train_tokenizer(tokenizer_texts(60))
    ids = word_ids(tokenizer)
    assert [tokenizer.decode([int(i)]).strip() for i in ids[1]] == list(COLORS)
    model = fresh_model(tower_of_clip().state_dict(), VOCABULARY)
    targets = torch.full((1, 4, 16), NOTHING)
    targets[0, 0, 3], targets[0, 1, 3] = EASY_TYPES.index("car"), COLORS.index("red")
    weight = model.model.language_model.embed_tokens.weight.detach()
    features = torch.zeros(1, 16, weight.shape[1])
    features -= 500 * weight[ids[0]].sum(0)  # no type
    features[0, 3] = 500 * (weight[ids[0][EASY_TYPES.index("car")]] + weight[ids[1][COLORS.index("red")]])
    low, right = word_loss(model, features, targets, ids)
    wrong = targets.clone()
    wrong[0, 0, 3] = EASY_TYPES.index("dog")
    high, missed = word_loss(model, features, wrong, ids)
    assert low < high
    assert (right, missed) == (1.0, 0.0)
