"""Annotation by rules, without a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mining.annotate.journal import Journal
from mining.annotate.ledger import Ledger
from mining.annotate.rule_run import run_rules
from mining.annotate.summary import AnnotateSummary
from mining.annotate.task import Answer
from mining.sets.annotation import Turn
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from tests.mining.annotate.asking import adds_up, said_of
from tests.mining.made_sets import many_pairs, write_sets


@dataclass
class Twice:
    """Two annotations of each set but the first, none of that."""

    silent: str = ""
    kind: str = "words"
    prompt_hash: str = "0" * 16
    annotator: str = "twice"

    def answers(self, each: ImageSet) -> list[Answer]:
        said = [f"{caption}" for caption in each.captions]
        return [Answer((Turn("assistant", (text,)),)) for text in said] if each.set_id != self.silent else []


def rules(sets: ImageSets, task: Twice) -> AnnotateSummary:
    folder = Path(sets.path) / "annotations/name.run"
    opened = ImageSets.open(sets.path)
    journal, ledger = Journal(opened, folder, "name"), Ledger(folder / "ledger.jsonl")
    try:
        return run_rules(opened, task, journal=journal, ledger=ledger)
    finally:
        journal.close()
        ledger.close()


def test_each_set_has_what_the_rules_say_once(tmp_path: Path) -> None:
    pairs = write_sets(tmp_path, many_pairs(12, 10))
    task = Twice(pairs[0].set_id)
    summary = rules(pairs, task)
    assert (summary.annotated, summary.nothing_to_ask, summary.annotations, summary.earlier) == (9, 1, 18, 0)
    assert adds_up(summary)
    expected = {each.set_id: list(each.captions) for each in pairs if each.set_id != task.silent}
    assert said_of(pairs) == expected
    again = rules(pairs, task)
    assert (again.annotated, again.earlier, again.parts, again.requests) == (9, 9, 1, 0)
    assert said_of(pairs) == expected
