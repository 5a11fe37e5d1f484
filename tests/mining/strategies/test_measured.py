"""Limits of this side, or of the training side where they are given."""

from __future__ import annotations

import numpy as np

from mining.strategies.bands import equal_bands, equal_edges
from mining.strategies.context import MiningConfig, MiningContext
from mining.strategies.measured import Measured

CONFIG = MiningConfig("store", "out", (("similar", 1.0),))


def _context(**measured: float) -> MiningContext:
    return MiningContext(CONFIG, "similar", 1, "", measured=measured)


def test_without_a_training_side_limits_are_those_measured() -> None:
    limits = Measured(_context())
    values = np.linspace(0, 1, 101)
    assert limits.settle("far", 0.5) == 0.5
    assert (limits.levels(values, 0.5) == equal_bands(values, 0.5, equal_edges(values, 0.5))).all()
    assert list(limits.values) == ["far", "level 4 below", "level 3 below", "level 2 below"]
    assert limits.notes == ()


def test_limits_of_the_training_side_are_taken_and_said() -> None:
    train = Measured(_context())
    train.levels(np.linspace(0, 1, 101), 0.8, "captions: ")
    held = Measured(_context(**train.values))
    assert held.levels(np.array([0.1, 0.7, 0.9]), 0.8, "captions: ").tolist() == [4, 1, 0]
    assert held.values == train.values
    assert held.settle("far", 0.3) == 0.3  # the training side had none
    assert held.notes == ("limits and levels are those of the training side",)


def test_nothing_below_the_limit_has_no_edges() -> None:
    limits = Measured(_context())
    assert limits.levels(np.array([0.9, np.nan]), 0.5).tolist() == [0, 0]
    assert limits.values == {}
