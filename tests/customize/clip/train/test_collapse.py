"""The watch warns once of a collapse, and does not warn of noise."""

from __future__ import annotations

import random

from customize.clip.train.collapse import CollapseWatch
from customize.clip.train.log import StepRecord


def warnings(watch: CollapseWatch, accuracies: list[float], alike: list[float] | None = None) -> list[str]:
    alike = alike or [1 / 64] * len(accuracies)
    records = [
        StepRecord(step, 1.0, accuracy, 1e-3, 20.0, alike=share)
        for step, (accuracy, share) in enumerate(zip(accuracies, alike, strict=True), start=1)
    ]
    return [line for record in records if (line := watch.see(record)) is not None]


def test_noise_is_no_collapse() -> None:
    rng = random.Random(0)
    assert warnings(CollapseWatch(64), [0.5 + rng.uniform(-0.2, 0.2) for _ in range(500)]) == []


def test_a_falling_accuracy_is_warned_of_once() -> None:
    (line,) = warnings(CollapseWatch(64), [0.6] * 50 + [0.1] * 200)
    assert "the contrastive accuracy is 0." in line
    assert "best 0.600, chance 0.016" in line


def test_accuracy_at_chance_level_from_the_start_is_warned_of() -> None:
    (line,) = warnings(CollapseWatch(64), [1 / 64] * 60)
    assert line.startswith("step 20: ")


def test_alike_texts_are_warned_of_though_the_accuracy_rises() -> None:
    rising = [0.6 + step / 500 for step in range(100)]
    (line,) = warnings(CollapseWatch(64), rising, [step / 100 for step in range(100)])
    assert "of a batch's texts count as one text" in line
    assert "--gamma 1" in line


def test_a_restored_watch_does_not_warn_again() -> None:
    before, after = CollapseWatch(64), CollapseWatch(64)
    assert len(warnings(before, [0.6] * 50 + [0.1] * 100)) == 1
    after.restore(before.state())
    assert warnings(after, [0.1] * 100) == []
