"""The counts of a strategy, and the sentence on what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mining.select.choose import Proposals
from mining.select.summary import StrategySummary, summarize
from mining.strategies.context import CANDIDATES_SCHEMA, Candidates, MiningConfig, MiningContext

REASONS = ("near-duplicates", "the same set again")


def _summary(own: list[int], lost: list[int], made: list[int], **choices: object) -> StrategySummary:
    config = MiningConfig("store", "out", (("similar", 1.0),), **choices)  # type: ignore[arg-type]
    ctx = MiningContext(config, "similar", 4, "", "train" if config.hold_out else None)
    members = np.arange(2 * len(own)).reshape(-1, 2)
    sets = Proposals(members, np.zeros(len(own), np.int64), np.array(own), 0)
    candidates = Candidates(CANDIDATES_SCHEMA.empty_table(), 9, {"below the floor": 3})
    return summarize(config, ctx, candidates, sets, np.array(lost, np.int8), np.array(made, np.int64), 0, REASONS)


def test_what_was_proposed_is_made_dropped_or_spare() -> None:
    found = _summary([1, 2, 2, 1], [-1, 0, -1, 1], [0])
    assert (found.proposed, found.made, found.spare) == (4, 1, 1)
    assert found.dropped == {"near-duplicates": 1, "the same set again": 1}
    assert (found.levels, found.supply) == ({"1": 1}, {"1": 2, "2": 2})


def test_a_shortfall_names_the_side_and_the_reasons_largest_first() -> None:
    found = _summary([1, 2, 2], [0, 1, 1], [], hold_out=0.1)
    assert found.shortfall() == (
        "similar (train): 4 of 4 sets are missing: only 3 were proposed, of which the filters dropped some "
        "(2 the same set again, 1 near-duplicates); of 9 considered the strategy left out some (3 below the floor)"
    )
    assert _summary([1] * 4, [-1] * 4, [0, 1, 2, 3]).shortfall() is None


def test_a_level_that_was_asked_for_and_is_not_there_is_named() -> None:
    assert _summary([1, 2], [-1, -1], [0], levels=(1, 3)).notes == ["no set at level 3, which was asked for"]


def test_one_set_and_none_are_said_as_such() -> None:
    assert str(_summary([], [], []).shortfall()).startswith("similar: 4 of 4 sets are missing: none was proposed;")
    assert "only 1 was proposed" in str(_summary([1], [-1], [0]).shortfall())
    assert str(_summary([1] * 4, [0, -1, -1, -1], [1, 2, 3]).shortfall()).startswith("similar: 1 of 4 sets is missing")


def test_rows_of_no_use_are_named_where_too_few_sets_were_proposed() -> None:
    found = replace(_summary([1], [-1], [0]), unused={"named too seldom": 7})
    assert str(found.shortfall()).endswith("; some rows were of no use (7 named too seldom)")
