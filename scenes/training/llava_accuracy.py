"""Accuracy of a LLaVA's greedy answers to fixed questions about held-out scenes, by kind of question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from scenes.training.lettered import as_choice, other_answers
from scenes.training.llava_batches import Rows, padded
from scenes.training.llava_data import MOST_IMAGES, Sample, Scenes, encode
from scenes.training.llava_model import image_features, text_logits
from scenes.training.llava_tower import pixels_of
from scenes.world.seeded_random import rng_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration


class Measured(NamedTuple):
    """Questions about held-out scenes, one in each conversation."""

    samples: tuple[Sample, ...]
    rows: tuple[Rows, ...]
    order: tuple[int, ...]  # the samples' positions in the rows


def fixed_questions(tokenizer: Tokenizer, images: int, count: int, split: str = "validation") -> Measured:
    """`count` questions about the scenes 0..`count` of a split with `images` images each."""
    known = Scenes(split, 0, max(count, 2 * MOST_IMAGES))
    rng = rng_of("llava questions", split, images)
    shares = [float(number >= images) for number in range(1, MOST_IMAGES + 1)]
    samples = tuple(known.sample(rng, shares, turns=1)._replace(system="") for _ in range(count))
    return _measured(tokenizer, samples)


def lettered_questions(tokenizer: Tokenizer, count: int, split: str = "validation") -> Measured:
    """`count` questions about one of the scenes 0..`count` of a split, with lettered options and a letter as answer."""
    known, rng = Scenes(split, 0, max(count, 2 * MOST_IMAGES)), rng_of("llava letters", split)
    samples: list[Sample] = []
    while len(samples) < count:
        sample = known.sample(rng, [1.0] * MOST_IMAGES, turns=1)._replace(system="")
        [question], [kind] = sample.turns, sample.kinds
        lettered = as_choice(rng, *question, other_answers(rng, known, kind))
        if lettered != question:
            samples.append(sample._replace(turns=(lettered,)))
    return _measured(tokenizer, tuple(samples))


def _measured(tokenizer: Tokenizer, samples: tuple[Sample, ...]) -> Measured:
    count = len(samples)
    encoded = [encode(tokenizer, sample) for sample in samples]
    order = sorted(range(count), key=lambda i: len(encoded[i][0]))
    chunks = [order[first : first + 60] for first in range(0, count, 60)]
    rows = tuple(padded([(*encoded[i], samples[i].images) for i in chunk]) for chunk in chunks)
    return Measured(samples, rows, tuple(order))


@torch.no_grad()
def answers_right(
    model: LlavaForConditionalGeneration,
    measured: Measured,
    images: npt.NDArray[np.uint8],
    dtype: torch.dtype = torch.float32,
) -> list[tuple[str, bool]]:
    """(kind, whether greedy decoding gives exactly the answer) of every question.

    Greedy decoding gives the answer when every token of it is the most likely one behind those before it, so one
    forward pass tells.
    """
    right: list[bool] = []
    for tokens, trained, numbers in measured.rows:
        before = torch.zeros_like(trained)
        before[:, :-1] = trained[:, 1:]
        features = image_features(model, pixels_of(images[numbers]), dtype)
        logits, _ = text_logits(model, tokens, features, before, dtype)
        wrong = torch.zeros(trained.shape, dtype=torch.bool)
        wrong[before] = logits.argmax(-1) != tokens[trained]
        right += (~wrong.any(1)).tolist()
    return [(measured.samples[i].kinds[0], value) for i, value in zip(measured.order, right, strict=True)]


def accuracies(found: Sequence[tuple[str, bool]]) -> dict[str, float]:
    """Accuracy by kind, and of all."""
    asked, right = Counter(kind for kind, _ in found), Counter(kind for kind, value in found if value)
    by_kind = {kind: round(right[kind] / asked[kind], 3) for kind in sorted(asked)}
    return {"all": round(sum(right.values()) / len(found), 3), **by_kind}
