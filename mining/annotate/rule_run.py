"""A run of annotation without a model: a task's rules give the annotations of each set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from mining.annotate.journal import Journal
from mining.annotate.ledger import Ledger
from mining.annotate.summary import AnnotateSummary
from mining.annotate.task import RuleTask
from mining.sets.annotation import Annotation, Annotator
from mining.sets.image_sets import ImageSets

__all__ = ["run_rules"]


def run_rules(
    sets: ImageSets,
    task: RuleTask,
    *,
    journal: Journal,
    ledger: Ledger,
    on_progress: Callable[[int], None] = lambda decided: None,
) -> AnnotateSummary:
    """Annotate the sets of a view; those that the journal has are not done again. Parts are written whatever ends it.

    on_progress: called with the number of sets that this run has decided.
    """
    began = time.monotonic()
    annotator = Annotator(task.annotator, prompt_hash=task.prompt_hash)
    left = journal.undecided(sets)
    earlier, nothing = len(sets) - len(left), 0
    try:
        for number, each in enumerate(left, 1):
            made = [
                Annotation.make(each.set_id, task.kind, annotator, answer.turns, answer.content)
                for answer in task.answers(each)
            ]
            if made:
                journal.add(each.set_id, made)
            else:
                nothing += 1
            on_progress(number)
    finally:
        journal.write_parts()
    annotated, rejected = journal.counts(sets)
    summary = AnnotateSummary(
        kind=task.kind,
        annotator=task.annotator,
        sets=len(sets),
        annotated=annotated,
        rejected=rejected,
        nothing_to_ask=nothing,
        earlier=earlier,
        annotations=journal.kinds[task.kind],
        parts=journal.parts,
        seconds=round(time.monotonic() - began, 3),
    )
    ledger.end(asdict(summary))
    return summary
