from __future__ import annotations

from collections import Counter

from scenes.language.questions import KINDS, questions
from scenes.world.facts import facts_hold
from scenes.world.sample import sample, scenes


def test_answers_are_true_and_of_known_kinds() -> None:
    kinds: Counter[str] = Counter()
    for scene in scenes("corpus", 0, 400):
        asked = questions(scene)
        kinds.update(question.kind for question in asked)
        for question in asked:
            assert question.facts
            assert facts_hold(scene, question.facts), question
            assert question.question.endswith("?")
            assert question.answer in (question.sentence, question.answer)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > 20


def test_existence_is_denied_as_well_as_affirmed() -> None:
    answers = [q.sentence.split(",")[0] for s in scenes("corpus", 0, 60) for q in questions(s) if q.kind == "existence"]
    assert {"Yes", "No"} == set(answers)


def test_half_of_the_answers_are_sentences() -> None:
    asked = [question for scene in scenes("corpus", 0, 100) for question in questions(scene)]
    assert 0.4 < sum(question.answer == question.sentence for question in asked) / len(asked) < 0.6


def test_the_same_seed_asks_the_same() -> None:
    scene = sample("corpus", 5)
    assert questions(scene) == questions(scene, 0) != questions(scene, 1)
