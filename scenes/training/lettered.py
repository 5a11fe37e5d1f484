"""Questions with lettered options, as A-OKVQA's in LLaVA-1.5's mixture, made of questions with short answers."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

from scenes.training.llava_data import Scenes

DIRECTLY = "Answer with the option's letter from the given choices directly."
YES_NO = ("existence", "attribute", "statement", "suits")
AMONG_OPTIONS = ("count", "color", "place", "indoors", "light", "action", "side", "relation", "objects", "describe")
MOST_OPTIONS = 4


def as_choice(rng: random.Random, question: str, answer: str, answers: Sequence[str]) -> tuple[str, str]:
    """The question with two to four lettered options in any order, answered by a letter.

    answers: what such a question is answered elsewhere. Where no other answer is among them, the question stays as it
        is. Both orders of yes and no, and every letter, are as likely as the others.
    """
    wrong = [other for other in dict.fromkeys(answers) if other != answer]
    if not wrong:
        return question, answer
    options = wrong[: 1 + int(rng.random() * (MOST_OPTIONS - 1))]
    place = int(rng.random() * (len(options) + 1))
    options.insert(place, answer)
    letters = string.ascii_uppercase
    listed = [f"{letter}. {option}" for letter, option in zip(letters, options, strict=False)]
    return "\n".join([question, *listed, DIRECTLY]), letters[place]


def other_answers(rng: random.Random, known: Scenes, kind: str) -> list[str]:
    """What questions of a kind are answered in other scenes, in a random order."""
    if kind in YES_NO:
        return ["yes", "no"]
    if kind not in AMONG_OPTIONS:
        return []
    others = [known.known[known.first + int(rng.random() * known.count)] for _ in range(3 * MOST_OPTIONS)]
    return [ask.answer for other in others for ask in other.asks if ask.kind == kind]
