"""Questions about one scene: true answers, balanced yes and no, and the image that they are about."""

from __future__ import annotations

from collections import Counter

from scenes.training.llava_questions import KINDS, about, asked_of, yes_no
from scenes.world.easy import easy_scene
from scenes.world.facts import count
from scenes.world.seeded_random import rng_of
from scenes.world.words import NUMBERS, color_word

SCENES = {number: easy_scene("language", number) for number in range(60)}
KNOWN = {number: about(scene) for number, scene in SCENES.items()}


def test_answers_are_those_of_the_scene() -> None:
    checked = 0
    for number, known in KNOWN.items():
        scene = SCENES[number]
        for ask in known.asks:
            if ask.kind == "count":
                assert ask.answer == NUMBERS[count(scene, ask.key[1])]
            elif ask.kind == "color":
                things = [thing for thing in scene.objects if thing.type == ask.key[1]]
                assert {color_word(t.hue, t.saturation, t.lightness) for t in things} == {ask.answer}
            else:
                continue
            checked += 1
    assert checked > 100


def test_all_kinds_of_questions_are_asked() -> None:
    found = {ask.kind for known in KNOWN.values() for ask in known.asks}
    rng = rng_of("kinds")
    drawn = (yes_no(rng, KNOWN[n], [KNOWN[n + 1]]) for n in range(59) for _ in range(3))
    assert found | {ask.kind for ask in drawn if ask is not None} == set(KINDS) - {"which"}


def test_half_of_the_answers_are_yes_and_existence_is_true() -> None:
    rng, answers = rng_of("balance"), Counter[str]()
    for _ in range(20):
        for number in range(59):
            ask = yes_no(rng, KNOWN[number], [KNOWN[number + 1]])
            if ask is None:
                continue
            answers[ask.answer] += 1
            if ask.kind == "existence":
                assert (ask.key[1] in KNOWN[number].present) == (ask.answer == "yes")
            if ask.kind == "attribute":
                assert (ask.key[1] in KNOWN[number].phrases) == (ask.answer == "yes")
    assert 0.45 < answers["yes"] / answers.total() < 0.55


def test_a_question_names_its_image() -> None:
    rng = rng_of("names")
    said = {asked_of(rng, "What color is the car?", "image 2") for _ in range(40)}
    assert said == {"In image 2, what color is the car?", "What color is the car in image 2?"}
    assert asked_of(rng, "Describe {image}.", "image 1") == "Describe image 1."
    assert asked_of(rng, "What does {image} show?", "the picture") == "What does the picture show?"


def test_a_scene_is_asked_the_same_at_every_call() -> None:
    assert about(SCENES[3]) == KNOWN[3]
