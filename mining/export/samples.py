"""The samples of image sets by number. Every format of `mining.export` writes these samples.

The conversations are the sets' annotations, chosen by kind and annotator, or come from a function. Where nothing is
chosen, a set's own annotations with turns are its samples, and a set that has none gives its captions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, TypedDict, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from mining.export.sample import Sample, Wording
from mining.export.skipped import SkippedSet
from mining.export.templates import Template
from mining.export.turns import Answer, Question
from mining.sets.attached import Names
from mining.sets.image_sets import ImageSets

__all__ = ["Choice", "PerSet", "Samples", "TurnChoice", "draw_numbers", "with_captions"]

Numbers = npt.NDArray[np.int64]
PerSet = Literal["all", "one"]
_READ = 512  # samples that are built at a time


class TurnChoice(TypedDict, total=False):
    """Which conversations about the sets are samples; the functions of `mining.export` take these by name.

    kind, annotator: the annotations, as `ImageSets.with_annotations` takes them; a set without such an annotation gives
        no sample. By default those of a view that has chosen some, else all, and the captions of a set that has none.
        Annotations without turns give no sample.
    answer: set -> turns, or None to skip the set; instead of annotations. `caption_turns` is what captions become.
    per_set: "all" for a sample of each annotation, "one" for one of them, drawn by `seed` (and by epoch in a stream).
    question: what is asked where an annotation shows images without a word, and of captions: a text, or by kind.
        `mining.export.turns.QUESTIONS` has the defaults.
    template: the prompt that will be made of the texts, whose special strings no text may contain: a name of
        `TEMPLATES` or the strings. None for those of all.
    """

    kind: Names | None
    annotator: Names | None
    answer: Answer | None
    per_set: PerSet
    question: Question
    template: Template


class Choice(TurnChoice, total=False):
    """Which sets and conversations are samples. rejected: also the sets that a person rejected on the page of pairs."""

    rejected: bool


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
        question: Question = None,
        template: Template = None,
        rejected: bool = False,
        seed: int = 0,
        silent: bool = False,
    ) -> None:
        """seed: of the draw of one annotation a set. silent: sets without a caption give a sample without turns, for
        training that uses the images alone. The other arguments are those of `Choice`. Raises BadInput for a kind or
        annotator that the folder lacks, or an unknown template.
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
        self._wording, self._seed, self._one = Wording(answer, question, template, silent), seed, per_set == "one"
        # place: the set of each sample; annotation: its number, -1 for the captions or the function's answer.
        self._places = np.arange(len(self.sets))
        self._annotations = np.full(len(self.sets), -1)
        self._asked = None if answer else self.sets.chosen_annotations(kind, annotator)
        if self._asked is not None:
            self._places, self._annotations = self._asked.places(self.sets.numbers, with_turns=True)
            if self._asked.unrestricted:
                self._places, self._annotations = with_captions(self._places, self._annotations, len(self.sets))
        self._several = np.bincount(self._places, minlength=len(self.sets)) > 1

    def __len__(self) -> int:
        return len(np.unique(self._places)) if self._one else len(self._places)

    def numbers(self, epoch: int = 0) -> Numbers:
        """int64 [n]: the samples of an epoch, in the order of the sets; with `per_set="one"` the drawn ones."""
        return draw_numbers(self._places, [self._seed, epoch]) if self._one else np.arange(len(self._places))

    def unused(self) -> Iterator[SkippedSet]:
        """Yield the sets that lack an annotation that was asked for. Rejected sets are not among them."""
        places, why = self._lacking
        first = 0
        for batch in self.sets.select(places).table(["set_id"]).to_batches(_READ) if len(places) else ():
            own = why[first : first + len(batch)].tolist()
            for name, reason in zip(batch.column(0).to_pylist(), own, strict=True):
                yield SkippedSet(name, None, None, self._reasons[reason])
            first += len(batch)

    def unused_counts(self) -> dict[str, int]:
        """How many sets `unused` would yield, by reason."""
        counts = np.bincount(self._lacking[1], minlength=2).tolist()
        return {reason: count for reason, count in zip(self._reasons, counts, strict=True) if count}

    @cached_property
    def _lacking(self) -> tuple[Numbers, Numbers]:
        """(places of the sets that `unused` yields, for each the place of its reason)."""
        lacking = np.ones(len(self.sets), np.bool_)
        lacking[self._places] = False
        places = np.flatnonzero(lacking)
        if self._asked is None or not len(places):
            return places, np.zeros(0, np.int64)
        return places, np.isin(self.sets.numbers[places], self._asked.annotated).astype(np.int64)

    @property
    def _reasons(self) -> tuple[str, str]:
        return f"has no {self._asked}", f"its {self._asked} has no conversation"

    def digest(self) -> str:
        """A hash of the numbers of the samples' sets and of the ids of their annotations."""
        found = hashlib.sha256(self.sets.numbers[self._places].tobytes())
        said = self._annotations >= 0
        found.update(np.packbits(said).tobytes())
        ids = self.sets.annotations.columns(["annotation_id"])["annotation_id"].take(pa.array(self._annotations[said]))
        found.update("\n".join(ids.to_pylist()).encode())
        return found.hexdigest()

    def read(self, numbers: Numbers) -> Iterator[Sample | SkippedSet]:
        """Yield the samples of these numbers, in this order; a SkippedSet where there is none, as without a caption."""
        for first in range(0, len(numbers), _READ):
            window = numbers[first : first + _READ]
            sets = self.sets.read(self.sets.numbers[self._places[window]])
            several = self._several[self._places[window]].tolist()
            own = self._annotations[window]
            annotations = iter(self.sets.annotations.read(own[own >= 0]))
            for each, number, more in zip(sets, own.tolist(), several, strict=True):
                if number < 0:
                    yield self._wording.of_set(each)
                else:
                    yield self._wording.of_annotation(each, next(annotations), more)


def with_captions(places: Numbers, said: Numbers, sets: int) -> tuple[Numbers, Numbers]:
    """The conversations (place, said) of `sets` sets, by place, and (place, -1) for each set without one."""
    lacking = np.ones(sets, np.bool_)
    lacking[places] = False
    places = np.concatenate([places, np.flatnonzero(lacking)])
    said = np.concatenate([said, np.full(int(lacking.sum()), -1)])
    order = np.argsort(places, kind="stable")
    return places[order], said[order]


def draw_numbers(places: Numbers, seed: Sequence[int]) -> Numbers:
    """int64 [sets]: one random sample of each set. places: int64 [samples] ascending, the set of each sample."""
    firsts = np.flatnonzero(np.diff(places, prepend=-1))
    counts = np.diff(firsts, append=len(places))
    return firsts + (np.random.default_rng(list(seed)).random(len(firsts)) * counts).astype(np.int64)
