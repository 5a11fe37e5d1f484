"""The tasks of annotation by their kind.

task = make_task("comparison", from_images=True, refine="difference_note")
sets = view_for(task, sets)          # with the annotations that the task reads
rules = make_rule_task("choice", seed=1)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from index.errors import BadInput
from mining.annotate.cad_qa import CadQaTask
from mining.annotate.comparison_task import ComparisonTask
from mining.annotate.judge import JudgeTask
from mining.annotate.rule_tasks import CaptionsTask, ChoiceTask
from mining.annotate.task import AnnotationTask, RuleTask
from mining.sets.image_sets import ImageSets

__all__ = ["make_rule_task", "make_task", "view_for"]

_Task = TypeVar("_Task")
_BY_MODEL: Mapping[str, Callable[..., AnnotationTask]] = {
    "comparison": ComparisonTask,
    "cad-qa": CadQaTask,
    "judge": JudgeTask,
}
_BY_RULES: Mapping[str, Callable[..., RuleTask]] = {"comparison": CaptionsTask, "choice": ChoiceTask}


def make_task(kind: str, **options: Any) -> AnnotationTask:
    """The task of this kind that asks a model.

    options: of `comparison`: from_images, with_captions, refine, seed; of `cad-qa`: summary, rounds, seed; of `judge`:
    of. Raises BadInput for an unknown kind or option, and for `choice`, which needs no model.
    """
    if kind == "choice":
        raise BadInput("choice: needs no model; choose the annotator captions")
    return _made(_BY_MODEL, kind, options)


def make_rule_task(kind: str, **options: Any) -> RuleTask:
    """The task of this kind without a model: `comparison` from captions, or `choice`; both take `seed`.

    Raises BadInput for another kind or option.
    """
    return _made(_BY_RULES, kind, options)


def view_for(task: AnnotationTask | RuleTask, sets: ImageSets) -> ImageSets:
    """The sets with the annotations that the task reads; the sets themselves where it reads none.

    Replaced annotations are among them, as a named annotator's may be replaced by now. Raises BadInput where the folder
    has none of the kinds that are read.
    """
    kinds = getattr(task, "reads", ())
    if not kinds:
        return sets
    sets.annotations.check(kinds, ())
    return sets.with_annotations(replaced=True)


def _made(known: Mapping[str, Callable[..., _Task]], kind: str, options: Mapping[str, Any]) -> _Task:
    if kind not in known:
        if kind in _BY_MODEL:
            raise BadInput(f"--kind {kind} asks a model: it needs --annotator openai or transformers")
        raise BadInput(f"kind {kind!r:.50}: choose one of {', '.join({**_BY_MODEL, **_BY_RULES})}")
    make: Any = known[kind]
    fields = [each.name for each in dataclasses.fields(make) if each.init]
    unknown = sorted(set(options) - set(fields))
    if unknown:
        raise BadInput(f"{kind}: has no option {unknown[0]!r:.50}; it takes {', '.join(fields)}")
    made: _Task = make(**options)
    return made
