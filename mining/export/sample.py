"""A sample: what a model trains on once, a conversation and the images of the set that it is about."""

from __future__ import annotations

from dataclasses import dataclass

from index.errors import BadInput
from mining.export.skipped import SkippedSet
from mining.export.templates import Template, text_filter
from mining.export.turns import Answer, Question, Turns, asked_turns, caption_turns, question_for, training_turns
from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet

__all__ = ["Sample", "Wording"]


@dataclass(frozen=True)
class Sample:
    """One conversation about a set. sample_id: the set's id, with the annotation's where the set has several.

    annotation: the one that the turns are from; None for captions and answers of a function. turns: with the images in
    their places, as positions in `set.members`.
    """

    sample_id: str
    set: ImageSet
    annotation: Annotation | None
    turns: tuple[Turn, ...]

    @property
    def shown(self) -> tuple[int, ...]:
        """The positions of the images in the order in which the turns show them; one may come twice."""
        return tuple(image for turn in self.turns for image in turn.images)


@dataclass(frozen=True)
class Wording:
    """How samples are made of sets: answer, question and template as `mining.export.samples.TurnChoice` has them.

    silent: sets without a caption give a sample without turns.
    """

    answer: Answer | None = None
    question: Question = None
    template: Template = None
    silent: bool = False

    def __post_init__(self) -> None:
        text_filter(self.template)  # an unknown template is an error here, before anything is read

    def of_annotation(self, each: ImageSet, annotation: Annotation, several: bool) -> Sample | SkippedSet:
        """The sample of an annotation with turns; where they cannot be used, the set is skipped.

        several: whether the set gives other samples too.
        """
        turns = asked_turns(each, annotation.turns, question_for(annotation.kind, self.question))
        try:
            said = training_turns(each, turns, text_filter(self.template))
        except BadInput as error:
            return SkippedSet(each.set_id, None, None, str(error).removeprefix(f"set {each.set_id}: "))
        name = f"{each.set_id}-{annotation.annotation_id}" if several else each.set_id
        return Sample(name, each, annotation, said)

    def of_set(self, each: ImageSet) -> Sample | SkippedSet:
        """The sample of the function's answer, or of the captions. Raises BadInput for an answer that is no turns."""
        turns: Turns | None
        if self.answer is not None:
            turns, lacking = self.answer(each), "without an answer"
        else:
            turns = caption_turns(each, question_for("captions", self.question))
            lacking = "without a caption" if each.members else "without a conversation"
        if turns:
            return Sample(each.set_id, each, None, training_turns(each, turns, text_filter(self.template)))
        if self.answer is None and self.silent:
            return Sample(each.set_id, each, None, ())
        return SkippedSet(each.set_id, None, None, lacking)
