"""Statistics of the annotations of a folder, as CaD-VI reports them (section 3.1, figure 3).

found = annotation_statistics(sets)
print("\\n".join(found.lines()))     # words, items, axes, first words, share of rejected answers
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mining.annotate.comparison import AXES, LISTS
from mining.annotate.parse import comparison_of
from mining.sets.annotation import Annotation
from mining.sets.image_sets import ImageSets

__all__ = ["AnnotationStatistics", "annotation_statistics", "statistics_of"]

_READ = 1_000
_MOST_LISTED = 20
_UNKNOWN = "unknown"


@dataclass
class AnnotationStatistics:
    """Counts over comparisons, questions, ratings and choices.

    Attributes:
        comparisons: how many. words, items: their sums by list.
        axes: list -> axis -> items, with "unknown" where no axis was found.
        having: axis -> comparisons with an item of it.
        first_words: the first two words of items.
        questions: how many. one_image: those about one image only. answer_words: sum over their answers.
        question_words: the first five words of questions.
        ratings: rounded rating -> how many. rating_sum: of the ratings themselves.
        choices: right letter -> how many.
        rejected: answers that were not understood, by the reason's first words.
    """

    comparisons: int = 0
    words: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    axes: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in LISTS})
    having: Counter[str] = field(default_factory=Counter)
    first_words: Counter[str] = field(default_factory=Counter)
    questions: int = 0
    one_image: int = 0
    answer_words: int = 0
    question_words: Counter[str] = field(default_factory=Counter)
    ratings: Counter[str] = field(default_factory=Counter)
    rating_sum: float = 0.0
    choices: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, annotation: Annotation) -> None:
        """Count one annotation; other kinds than the four of `mining.annotate.tasks` and `rejected` count nothing."""
        content = annotation.content
        if annotation.kind == "comparison":
            self._add_comparison(annotation)
        elif annotation.kind == "cad-qa":
            question, answer = str(content.get("question", "")), str(content.get("answer", ""))
            self.questions += 1
            self.one_image += bool(content.get("one_image"))
            self.answer_words += len(answer.split())
            self.question_words[" ".join(question.lower().split()[:5])] += 1
        elif annotation.kind == "judge" and isinstance(content.get("rating"), int | float):
            self.ratings[str(round(content["rating"]))] += 1
            self.rating_sum += content["rating"]
        elif annotation.kind == "choice":
            self.choices[str(content.get("letter"))] += 1
        elif annotation.kind == "rejected":
            reason = str(content.get("reason", "")).partition(" in '")[0].partition(": ")[0]
            self.rejected[f"{content.get('kind')}: {reason[:60]}"] += 1

    def _add_comparison(self, annotation: Annotation) -> None:
        comparison = comparison_of(annotation)
        if comparison is None:
            return
        self.comparisons += 1
        axes = set()
        for name, items in (("commonalities", comparison.commonalities), ("differences", comparison.differences)):
            for item in items:
                words = item.text.split()
                axis = item.axis or _UNKNOWN
                self.words[name] += len(words)
                self.items[name] += 1
                self.axes[name][axis] += 1
                self.first_words[" ".join(words[:2]).lower().strip(".,:;")] += 1
                axes.add(axis)
        self.having.update(axes)

    @property
    def rejected_share(self) -> float | None:
        """Rejected answers among all answers of a model; None where there is none."""
        rejected = self.rejected.total()
        answers = self.comparisons + self.questions + self.ratings.total() + rejected
        return rejected / answers if answers else None

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON data; means are None where nothing was counted."""
        count = self.comparisons
        return {
            "comparisons": count,
            "words": _means(self.words, count),
            "items": _means(self.items, count),
            "axes": {name: {axis: counts[axis] for axis in (*AXES, _UNKNOWN)} for name, counts in self.axes.items()},
            "share_with_axis": {axis: _share(self.having[axis], count) for axis in AXES},
            "first_words": dict(self.first_words.most_common(_MOST_LISTED)),
            "questions": self.questions,
            "questions_about_one_image": self.one_image,
            "answer_words": _share(self.answer_words, self.questions),
            "question_words": dict(self.question_words.most_common(_MOST_LISTED)),
            "ratings": {"count": self.ratings.total(), "mean": _share(self.rating_sum, self.ratings.total())},
            "choices": dict(sorted(self.choices.items())),
            "rejected": {"count": self.rejected.total(), "share": self.rejected_share, "reasons": dict(self.rejected)},
        }

    def lines(self) -> list[str]:
        """The same for people, only what there is."""
        said = self.to_json()
        found = []
        if self.comparisons:
            words, items = said["words"], said["items"]
            found.append(
                f"{_count(self.comparisons, 'comparison')} of {sum(words.values()):.1f} words "
                f"({words['commonalities']:.1f} in {items['commonalities']:.1f} commonalities, "
                f"{words['differences']:.1f} in {items['differences']:.1f} differences)"
            )
            for axis in AXES:
                common, different = (said["axes"][name][axis] for name in LISTS)
                found.append(
                    f"  {axis}: {_count(common, 'commonality')}, {_count(different, 'difference')}; "
                    f"in {100 * said['share_with_axis'][axis]:.0f}% of comparisons"
                )
            unknown = sum(self.axes[name][_UNKNOWN] for name in LISTS)
            if unknown:
                found.append(f"  without an axis: {_count(unknown, 'item')}")
            first = ", ".join(f"{words!r} {count:,}" for words, count in self.first_words.most_common(8))
            found.append(f"  first words: {first}")
        if self.questions:
            found.append(
                f"{_count(self.questions, 'question')}, {self.one_image:,} of them about one image only; "
                f"answers of {said['answer_words']:.1f} words"
            )
        if self.ratings:
            found.append(f"{_count(self.ratings.total(), 'rating')}, mean {said['ratings']['mean']:.2f}")
        if self.choices:
            found.append(f"choices by answer: {', '.join(f'{each} {n:,}' for each, n in sorted(self.choices.items()))}")
        if self.rejected and self.rejected_share is not None:
            found.append(f"{_count(self.rejected.total(), 'answer')} rejected ({100 * self.rejected_share:.1f}%)")
            found += [f"  {reason}: {count:,}" for reason, count in self.rejected.most_common(5)]
        return found


def statistics_of(annotations: Iterable[Annotation]) -> AnnotationStatistics:
    """The statistics of these annotations."""
    found = AnnotationStatistics()
    for each in annotations:
        found.add(each)
    return found


def annotation_statistics(sets: ImageSets, annotator: str | None = None) -> AnnotationStatistics:
    """The statistics of a folder's annotations, of all its sets; those that others replace count as well.

    annotator: only the annotations by this one.
    """
    return statistics_of(each for each in _all(sets) if annotator in (None, each.annotator.name))


def _all(sets: ImageSets) -> Iterator[Annotation]:
    count = len(sets.annotations)
    for first in range(0, count, _READ):
        yield from sets.annotations.read(range(first, min(first + _READ, count)))


def _count(number: int, noun: str) -> str:
    """ "1 difference", "2 commonalities"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _means(sums: Counter[str], count: int) -> dict[str, float]:
    return {name: sums[name] / count if count else 0.0 for name in LISTS}


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
