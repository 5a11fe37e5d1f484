"""A sample is what a model trains on once: a conversation, and the images of the set that it is about.

The conversations are the sets' annotations, chosen by kind and annotator, or come from a function. Where the sets have
no annotation with turns, they are the captions. Every format of `mining.export` writes these samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from mining.export.skipped import SkippedSet
from mining.export.templates import Template, text_filter
from mining.export.turns import Answer, Turns, caption_turns, training_turns
from mining.sets.annotation import Annotation, Turn
from mining.sets.attached import Names
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets

__all__ = ["Choice", "PerSet", "Sample", "Samples", "TurnChoice", "draw_numbers", "make_sample"]

Numbers = npt.NDArray[np.int64]
PerSet = Literal["all", "one"]
_READ = 512  # samples that are built at a time


class TurnChoice(TypedDict, total=False):
    """Which conversations about the sets are samples; the functions of `mining.export` take these by name.

    kind, annotator: the annotations, as `ImageSets.with_annotations` takes them; by default those of a view that has
        chosen some, else all. Annotations without turns give no sample.
    answer: set -> turns, or None to skip the set; instead of annotations. `caption_turns` is what sets without any
        annotation get.
    per_set: "all" for a sample of each annotation, "one" for one of them, drawn by `seed` (and by epoch in a stream).
    template: the prompt that will be made of the texts, whose special strings no text may contain: a name of
        `TEMPLATES` or the strings. None for those of all.
    """

    kind: Names | None
    annotator: Names | None
    answer: Answer | None
    per_set: PerSet
    template: Template


class Choice(TurnChoice, total=False):
    """Which sets and conversations are samples. rejected: also the sets that a person rejected on the page of pairs."""

    rejected: bool


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


class Samples:
    """The samples of image sets by number, 0 .. len - 1, in the order of the sets."""

    def __init__(
        self,
        sets: ImageSets,
        *,
        kind: Names | None = None,
        annotator: Names | None = None,
        answer: Answer | None = None,
        per_set: PerSet = "all",
        template: Template = None,
        rejected: bool = False,
        seed: int = 0,
        silent: bool = False,
    ) -> None:
        """seed: of the draw of one annotation a set. silent: sets without a caption give a sample without turns, for
        training that uses the images alone. The other arguments are those of `Choice`. Raises BadInput for a kind or
        annotator that the folder lacks.
        """
        if per_set not in get_args(PerSet):
            raise BadInput(f"per_set {per_set!r:.50}: choose {' or '.join(get_args(PerSet))}")
        if answer is not None and (kind is not None or annotator is not None):
            raise BadInput(
                "choose annotations by kind and annotator, or give an answer function; to answer from annotations give "
                "the sets as sets.with_annotations(kind=...), which the function finds in each.annotations"
            )
        self.sets = sets if rejected else sets.kept()
        self.rejected = len(sets) - len(self.sets)  # sets
        self.template, self._answer, self._seed, self._silent = template, answer, seed, silent
        self._places, self._annotations = np.zeros(0, np.int64), None
        if answer is None:
            places, annotations = self.sets.annotation_places(kind, annotator, with_turns=True)
            if len(places) or kind is not None or annotator is not None:
                self._places, self._annotations = places, annotations
        if self._annotations is None:
            self._places = np.arange(len(self.sets))
        self._several = np.bincount(self._places, minlength=len(self.sets)) > 1
        self._one = per_set == "one"

    def __len__(self) -> int:
        return len(np.unique(self._places)) if self._one else len(self._places)

    def numbers(self, epoch: int = 0) -> Numbers:
        """int64 [n]: the samples of an epoch, in the order of the sets; with `per_set="one"` the drawn ones."""
        return draw_numbers(self._places, [self._seed, epoch]) if self._one else np.arange(len(self._places))

    def unused(self) -> Iterator[SkippedSet]:
        """Yield the sets that give no sample since they lack an annotation. Rejected sets are not among them."""
        lacking = np.ones(len(self.sets), np.bool_)
        lacking[self._places] = False
        if lacking.any():
            for name in self.sets.select(np.flatnonzero(lacking)).table(["set_id"])["set_id"].to_pylist():
                yield SkippedSet(name, None, None, "without such an annotation")

    def digest(self) -> str:
        """A hash of the numbers of the samples' sets and of the ids of their annotations."""
        found = hashlib.sha256(self.sets.numbers[self._places].tobytes())
        if self._annotations is not None:
            ids = self.sets.annotations.columns(["annotation_id"])["annotation_id"].take(pa.array(self._annotations))
            found.update("\n".join(ids.to_pylist()).encode())
        return found.hexdigest()

    def read(self, numbers: Numbers) -> Iterator[Sample | SkippedSet]:
        """Yield the samples of these numbers, in this order; a SkippedSet where there is none, as without a caption."""
        plain = text_filter(self.template)
        for first in range(0, len(numbers), _READ):
            window = numbers[first : first + _READ]
            sets = self.sets.read(self.sets.numbers[self._places[window]])
            if self._annotations is None:
                yield from (self._of_set(each, plain) for each in sets)
                continue
            several = self._several[self._places[window]].tolist()
            annotations = self.sets.annotations.read(self._annotations[window])
            for each, annotation, more in zip(sets, annotations, several, strict=True):
                yield make_sample(each, annotation, annotation.turns, more, plain)

    def _of_set(self, each: ImageSet, plain: Callable[[str], str]) -> Sample | SkippedSet:
        turns = (self._answer or caption_turns)(each)
        if turns:
            return make_sample(each, None, turns, False, plain)
        if self._answer is None and self._silent:
            return Sample(each.set_id, each, None, ())
        return SkippedSet(each.set_id, None, None, "without an answer" if self._answer else "without a caption")


def draw_numbers(places: Numbers, seed: Sequence[int]) -> Numbers:
    """int64 [sets]: one random sample of each set. places: int64 [samples] ascending, the set of each sample."""
    firsts = np.flatnonzero(np.diff(places, prepend=-1))
    counts = np.diff(firsts, append=len(places))
    return firsts + (np.random.default_rng(list(seed)).random(len(firsts)) * counts).astype(np.int64)


def make_sample(
    each: ImageSet, annotation: Annotation | None, turns: Turns, several: bool, plain: Callable[[str], str]
) -> Sample | SkippedSet:
    """A sample of a set. several: whether the set gives others too. plain: makes texts free of special strings.

    Turns of an annotation that cannot be used skip the set; those of a caller's function raise BadInput.
    """
    try:
        said = training_turns(each, turns, plain)
    except BadInput as error:
        if annotation is None:
            raise
        return SkippedSet(each.set_id, None, None, str(error).removeprefix(f"set {each.set_id}: "))
    name = f"{each.set_id}-{annotation.annotation_id}" if annotation and several else each.set_id
    return Sample(name, each, annotation, said)
