"""Aligns image tokens with words: what a patch shows must be readable from its projected token by the word embeddings.

A language model finds out whether "car" is in an image by comparing the word with 16 image tokens, which is easier to
learn when the token of a car is similar to the word. So the projected token of a patch, multiplied with the embeddings
of the words for types, colours, poses and sides, must tell the patch's object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from scenes.training.llava_images import GRID, OBJECTS
from scenes.training.llava_model import IMAGE_ID, IMAGE_TOKENS
from scenes.training.llava_tower import COVERED, POSES
from scenes.world.easy import EASY_TYPES, easy_scene
from scenes.world.geometry import zone
from scenes.world.words import COLORS, color_word

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration

    from scenes.world.scene import SceneObject

NOTHING = -1
SIDES = ("left", "middle", "right")
POSE_WORDS = tuple(pose for pose in POSES if pose.endswith("ing"))
WORDS = (EASY_TYPES, COLORS, POSE_WORDS, SIDES)
MOST_IMAGES = 4  # of a conversation


def word_targets(split: str, numbers: Sequence[int], covered: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """int8 [n, 4, 16]: numbers of the words of each of WORDS for what each patch shows, or NOTHING.

    A patch that is the fullest one of an object shows this object, else the object that covers most of it.
    """
    targets = np.full((len(numbers), len(WORDS), GRID * GRID), NOTHING, np.int8)
    for row, (number, shares) in enumerate(zip(numbers, covered, strict=True)):
        things = easy_scene(split, number).objects[:OBJECTS]
        said = [_words_of(thing) for thing in things]
        fullest = shares.argmax(axis=0)
        for patch in np.flatnonzero(shares.max(axis=0) >= 255 * COVERED):
            targets[row, :, patch] = said[fullest[patch]]
        for index in np.argsort(-shares[: len(things)].max(axis=1).astype(int)):  # the smallest object is written last
            targets[row, :, shares[index].argmax()] = said[index]
    return targets


def _words_of(thing: SceneObject) -> tuple[int, ...]:
    """The number of the word of an object in each of WORDS, or NOTHING."""
    side = zone(thing)
    color = COLORS.index(color_word(thing.hue, thing.saturation, thing.lightness))
    pose = POSE_WORDS.index(thing.pose) if thing.pose in POSE_WORDS else NOTHING
    return EASY_TYPES.index(thing.type), color, pose, SIDES.index(side) if side else NOTHING


def word_ids(tokenizer: Tokenizer) -> tuple[torch.Tensor, ...]:
    """Ids of each of WORDS: the first token of each word after a space."""
    return tuple(torch.tensor([tokenizer.encode(f" {word}").ids[0] for word in words]) for words in WORDS)


def word_loss(
    model: LlavaForConditionalGeneration,
    features: torch.Tensor,
    targets: torch.Tensor,
    ids: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, float]:
    """The loss of projected tokens [images, 16, width] for targets [images, 4, 16], and the share of right types.

    A patch without an object must choose an answer of its own, whose logit is zero; the other words are asked of
    patches that have them.
    """
    weight = model.model.language_model.embed_tokens.weight
    kinds = F.linear(features, weight[ids[0]])
    kinds = torch.cat([torch.zeros_like(kinds[..., :1]), kinds], dim=-1).flatten(0, 1)
    truth = targets[:, 0].flatten().long()
    loss = F.cross_entropy(kinds, truth + 1)
    for number in range(1, len(ids)):
        word = targets[:, number].flatten().long()
        has = word != NOTHING
        if has.any():
            loss = loss + F.cross_entropy(F.linear(features.flatten(0, 1)[has], weight[ids[number]]), word[has])
    shown = truth != NOTHING
    right = (kinds.argmax(-1) - 1 == truth)[shown].float().mean()
    return loss, round(float(right), 3)


def number_loss(
    model: LlavaForConditionalGeneration, early: torch.Tensor, tokens: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """The loss of early states [images * 16, width] that must show the number of their image among several.

    A question about "image 2" is answered from tokens that are similar to the word "2". ids: of the words 1, 2, 3, 4.
    """
    spots = (tokens == IMAGE_ID).nonzero()
    counts = (tokens == IMAGE_ID).sum(1)
    starts = counts.cumsum(0) - counts
    number = (torch.arange(len(spots)) - starts[spots[:, 0]]) // IMAGE_TOKENS
    several = counts[spots[:, 0]] > IMAGE_TOKENS
    if not several.any():
        return early.sum() * 0
    logits = F.linear(early[several], model.model.language_model.embed_tokens.weight[ids])
    return F.cross_entropy(logits, number[several])


def number_ids(tokenizer: Tokenizer) -> torch.Tensor:
    """Ids of the words " 1" to " 4"."""
    return torch.tensor([tokenizer.encode(f" {number}").ids[0] for number in range(1, MOST_IMAGES + 1)])
