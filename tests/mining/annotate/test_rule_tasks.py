from __future__ import annotations

from mining.annotate.comparison import Comparison
from mining.annotate.rule_tasks import CaptionsTask, ChoiceTask
from mining.annotate.task import RuleTask
from tests.mining.annotate.made_pairs import image_set


def test_captions_are_compared_as_a_training_conversation() -> None:
    task: RuleTask = CaptionsTask()

    (answer,) = task.answers(image_set())

    assert (task.kind, task.annotator) == ("comparison", "captions")
    assert answer.turns[0].images == (0, 1)
    assert answer.turns[1].text == Comparison.from_json(answer.content).text()
    assert "Image 1 shows a red bus, Image 2 a blue bus." in answer.turns[1].text


def test_captions_that_say_nothing_have_no_comparison() -> None:
    assert CaptionsTask().answers(image_set(("", None))) == []
    assert CaptionsTask().answers(image_set(("Ein Hund läuft über die Wiese", "Eine Katze schläft auf dem Sofa"))) == []


def test_a_choice_keeps_its_draws() -> None:
    task: RuleTask = ChoiceTask(seed=2)

    (answer,) = task.answers(image_set())

    content = answer.content
    assert content["caption"] == image_set().captions[content["answer"]]
    assert content["letter"] == "AB"[content["order"].index(content["answer"])] == answer.turns[1].text
    assert ChoiceTask().answers(image_set(("A dog", None))) == []


def test_the_hash_changes_with_the_seed() -> None:
    assert ChoiceTask(1).prompt_hash != ChoiceTask(2).prompt_hash
    assert CaptionsTask(1).prompt_hash != CaptionsTask(2).prompt_hash
