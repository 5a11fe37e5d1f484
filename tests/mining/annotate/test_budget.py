"""What a run may spend."""

from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from mining.annotate.budget import Budget, Limits, Spent
from mining.chat.chat import ChatReply, ChatRequest
from mining.sets.annotation import Turn

# 100 characters and a turn are estimated as 81 tokens, and 19 new ones may come: 100 in all.
ASKED = ChatRequest((Turn("user", ("x" * 100,)),), max_new_tokens=19)


def test_requests_in_flight_count_as_estimated_and_answered_ones_as_they_were() -> None:
    budget = Budget(Limits(max_tokens=250))
    assert [budget.reserve(key, ASKED) for key in "abc"] == [True, True, False]
    assert budget.stopped == "--max-tokens 250"
    spent = budget.settle("a", ASKED, ChatReply("yes", "stop", 40, 5))
    assert spent == Spent(1, 40, 5, 0.0, 0)
    assert budget.reserve("c", ASKED)  # 45 + 2 x at most 100
    assert budget.stopped is None


def test_the_prompts_estimate_follows_the_highest_count_of_the_model() -> None:
    budget = Budget(Limits(max_tokens=1_000))
    for key, tokens in (("a", 160), ("b", 40)):
        assert budget.reserve(key, ASKED)
        budget.settle(key, ASKED, ChatReply("yes", "stop", tokens, 5))
    # 210 are spent, and a request is at most 161 + 19 tokens.
    assert [budget.reserve(str(number), ASKED) for number in range(5)] == [True] * 4 + [False]


def test_images_count() -> None:
    shown = ChatRequest((Turn("user", (0, 1, "?")),), (b"1", b"2"), 10)
    assert not Budget(Limits(max_tokens=6_000)).reserve("a", shown)
    assert Budget(Limits(max_tokens=6_100)).reserve("a", shown)


def test_a_reply_without_counts_is_spent_as_estimated_and_a_failed_one_costs_what_it_names() -> None:
    budget = Budget(Limits(price_in=1e6, price_out=2e6))
    for key in "abc":
        budget.reserve(key, ASKED)
    assert budget.settle("a", ASKED, ChatReply("yes", "stop")) == Spent(1, 81, 19, 81 + 38, 1)
    assert budget.settle("b", ASKED, ChatReply("", "failed", error="down")) == Spent(1, 0, 0, 0.0, 0)
    assert budget.settle("c", ASKED, ChatReply("", "failed", 7, 1, error="cut")) == Spent(1, 7, 1, 9.0, 0)
    assert budget.spent == Spent(3, 88, 20, 81 + 38 + 9.0, 1)


def test_what_earlier_runs_spent_counts() -> None:
    budget = Budget(Limits(max_requests=10), Spent(requests=9))
    assert [budget.reserve(key, ASKED) for key in "ab"] == [True, False]
    assert budget.stopped == "--max-requests 10"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_requests": -1}, "--max-requests -1: give a number from 0"),
        ({"price_in": float("nan")}, "--price-in nan"),
        ({"max_cost": 1.0}, "--max-cost needs --price-in and --price-out"),
    ],
)
def test_limits_without_meaning_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Limits(**limits)
