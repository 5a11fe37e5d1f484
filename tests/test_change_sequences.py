"""Stores that are changed at random, killed and served meanwhile: store, index, retrieval and service together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.changes.answers import Counts, Question, Visible, check
from tests.changes.sequence import draw_changes, run_sequence, shorten
from tests.changes.world import World


@pytest.mark.parametrize("seed", [2, 3])
def test_any_sequence_of_changes_some_of_them_killed_is_answered_as_by_an_exact_scan(tmp_path: Path, seed: int) -> None:
    counts = run_sequence(tmp_path, seed, draw_changes(seed, 8))
    assert counts.changes == 8
    assert counts.stopped
    assert counts.queries > 300


class TestChecks:
    """What is counted as a wrong answer."""

    world = World(0)
    question = Question(world.queries[:1], "image", 3)
    scores = (world.queries[:1].astype(np.float32) @ world.image[:500].astype(np.float32).T)[0]
    best = np.argsort(-scores)

    def wrong(self, rows: list[int], scores: list[float] | None = None, gone: frozenset[int] = frozenset()) -> str:
        given = self.scores[rows].tolist() if scores is None else scores
        return check(self.question, [(rows, given)], [Visible(self.world, 500, gone)])[1]

    def test_the_best_rows_are_right(self) -> None:
        assert self.wrong(self.best[:3].tolist()) == ""

    def test_a_forgotten_row_is_wrong(self) -> None:
        rows = self.best[:3].tolist()
        assert "is forgotten" in self.wrong(rows, gone=frozenset(rows[:1]))

    def test_a_row_that_is_not_there_twice_or_lacking_is_wrong(self) -> None:
        rows = self.best[:3].tolist()
        assert self.wrong([*rows[:2], 500], [0.9, 0.8, 0.7]) == "query 0: row 500 of 500"
        assert "2 different" in self.wrong([rows[0], rows[0], rows[1]])
        assert "2 rows" in self.wrong(rows[:2])

    def test_another_rows_score_is_wrong(self) -> None:
        rows = self.best[:3].tolist()
        assert "a score is off" in self.wrong(rows, [1.0, *self.scores[rows[1:]].tolist()])

    def test_an_answer_may_be_that_before_or_after_a_change(self) -> None:
        rows = self.best[:3].tolist()
        before, after = Visible(self.world, 500, frozenset()), Visible(self.world, 500, frozenset(rows[:1]))
        recalls, wrong = check(self.question, [(rows, self.scores[rows].tolist())], [after, before])
        assert (recalls.tolist(), wrong) == ([1.0], "")


def test_a_failing_sequence_is_shortened_to_the_changes_that_it_needs() -> None:
    changes = draw_changes(0, 12)
    needed = {3, 7}
    short = shorten(changes, lambda some: needed <= {change.number for change in some})
    assert [change.number for change in short] == [3, 7]


def test_counts_of_sequences_are_added() -> None:
    total, one = Counts(), Counts(sequences=1, changes=2, lowest=0.96, by_name={"grow": 2})
    one.saw("index", np.array([1.0, 0.9]))
    total.add(one)
    total.add(one)
    assert (total.sequences, total.queries, total.lowest, total.by_name) == (2, 4, 0.96, {"grow": 4})
    recall, answers = total.mean_recall()
    assert recall == pytest.approx(0.95)
    assert answers == 4
