"""Answers compared with an exact scan of the rows that are visible.

An answer may hold no row that was forgotten, none twice and none that the question excludes; each score is the cosine
of its row; the scores descend; there are as many rows as there could be; and the share of the best rows that were found
is above a bound. Where a change may have happened while a question was answered, the answer must be right before or
after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.changes.world import World

Recalls = npt.NDArray[np.float64]
NONE: Recalls = np.zeros(0)
SAME = 2e-5  # scores of fp16 vectors, computed in another order, differ by less
# Mean recall of a sequence's searches by a graph, at least: what its index is built for.
LEAST_RECALL = 0.95
# The same of queries that are vectors of forgotten rows, in a sequence with so many of them.
LEAST_NEAR, MANY = 0.85, 100
NEAR = ", near forgotten rows"


@dataclass
class Counts:
    """What sequences consisted of.

    stopped, killed: changes that were stopped before a write, or killed. refused: second writers. answers, queries:
    those compared with an exact scan. lowest: mean recall of the sequence with the lowest. recalls: by the way that was
    asked, their sum and the number of queries.
    """

    sequences: int = 0
    changes: int = 0
    stopped: int = 0
    killed: int = 0
    refused: int = 0
    answers: int = 0
    queries: int = 0
    lowest: float = 1.0
    by_name: dict[str, int] = field(default_factory=dict)
    recalls: dict[str, list[float]] = field(default_factory=dict)

    def count(self, name: str) -> None:
        """Count a change of this name."""
        self.changes += 1
        self.by_name[name] = self.by_name.get(name, 0) + 1

    def saw(self, way: str, recalls: Recalls) -> None:
        """Count an answer with these recalls."""
        if len(recalls):
            self.answers += 1
            self.queries += len(recalls)
            total = self.recalls.setdefault(way, [0.0, 0.0])
            total[0] += float(recalls.sum())
            total[1] += len(recalls)

    def mean_recall(self, ways: str = "") -> tuple[float, int]:
        """The mean recall of all queries that were not scanned exactly, or of those whose way ends so; their number."""
        searched = [total for way, total in self.recalls.items() if "exact" not in way and way.endswith(ways)]
        queries = sum(int(count) for _, count in searched)
        return sum(recall for recall, _ in searched) / max(1, queries), queries

    def add(self, other: Counts) -> None:
        """Add the counts of further sequences."""
        for name in ("sequences", "changes", "stopped", "killed", "refused", "answers", "queries"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lowest = min(self.lowest, other.lowest)
        for name, count in other.by_name.items():
            self.by_name[name] = self.by_name.get(name, 0) + count
        for way, (recall, queries) in other.recalls.items():
            total = self.recalls.setdefault(way, [0.0, 0.0])
            total[0], total[1] = total[0] + recall, total[1] + queries


@dataclass(frozen=True)
class Visible:
    """The rows of a store that may be found: 0 .. rows - 1 without `gone`."""

    world: World
    rows: int
    gone: frozenset[int]

    def mask(self) -> npt.NDArray[np.bool_]:
        """bool [rows]: which rows are visible."""
        kept = np.ones(self.rows, np.bool_)
        kept[[row for row in self.gone if row < self.rows]] = False
        return kept


@dataclass(frozen=True)
class Question:
    """Queries [q, d] for the k best rows of a modality. allowed: bool [most rows], which rows it may return."""

    queries: npt.NDArray[np.floating[Any]]
    modality: str
    k: int
    allowed: npt.NDArray[np.bool_] | None = None
    exact: bool = False
    own_rows: tuple[int, ...] = ()


def check(
    question: Question, found: Sequence[tuple[Sequence[int], Sequence[float]]], states: Sequence[Visible]
) -> tuple[Recalls, str]:
    """The recall of each query of an answer, and what is wrong with it in all states ("" where one fits)."""
    judged = [_judge(question, found, state) for state in states]
    right = [recall for recall, wrong in judged if not wrong]
    return (max(right, key=np.mean), "") if right else (NONE, "; or ".join(dict.fromkeys(wrong for _, wrong in judged)))


def _judge(
    question: Question, found: Sequence[tuple[Sequence[int], Sequence[float]]], state: Visible
) -> tuple[Recalls, str]:
    kept = state.mask()
    if question.allowed is not None:
        kept &= question.allowed[: state.rows]
    vectors = state.world.vectors(question.modality)[: state.rows].astype(np.float32)
    scores = np.asarray(question.queries, np.float32) @ vectors.T
    recalls = np.ones(len(found))
    for place, (rows, given) in enumerate(found):
        mine = kept.copy()
        if question.own_rows:
            mine[question.own_rows[place]] = False
        ids, best = np.asarray(rows, np.int64), np.sort(np.where(mine, scores[place], -np.inf))[::-1]
        want = min(question.k, int(mine.sum()))
        if len(ids) and (ids.min() < 0 or ids.max() >= state.rows):
            return NONE, f"query {place}: row {ids.max()} of {state.rows}"
        if not mine[ids].all():
            row = int(ids[~mine[ids]][0])
            return NONE, f"query {place}: row {row} is {'forgotten' if row in state.gone else 'excluded'}"
        if len(np.unique(ids)) != len(ids) or len(ids) != want:
            return NONE, f"query {place}: {len(ids)} rows, {len(np.unique(ids))} different, of {want}"
        if len(ids) and np.abs(scores[place][ids] - np.asarray(given)).max() > SAME:
            return NONE, f"query {place}: a score is off by {np.abs(scores[place][ids] - np.asarray(given)).max():.2g}"
        if len(ids) > 1 and np.diff(np.asarray(given)).max() > SAME:
            return NONE, f"query {place}: scores do not descend"
        if want:
            recalls[place] = (scores[place][ids] >= best[want - 1] - SAME).mean()
    if question.exact and recalls.min() < 1:
        return recalls, f"recall {recalls.min():.3f} of an exact search, k {question.k}"
    return recalls, ""
