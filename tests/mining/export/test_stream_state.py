"""A state is read only where it is one of the same stream."""

from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from mining.export.stream_state import StreamState, read_state

SHAPE = {"samples": 11, "seed": 0, "ranks": [0, 1], "digest": "5f"}
STATE = {**SHAPE, "epoch": 2, "workers": 2, "next": [[0, 4, 3], [1, 5, 5]], "last": 1}


def read(state: Any, equal: bool = False) -> StreamState:
    return read_state(state, SHAPE, 11, equal, 4)


def test_a_state_of_the_stream_is_read() -> None:
    assert read(STATE) == StreamState(2, 2, {0: (4, 3), 1: (5, 5)}, 1)
    assert read({**STATE, "next": [], "last": -1}).next == {}


def test_more_may_be_tried_than_a_share_has_only_where_samples_are_repeated() -> None:
    repeated = {**STATE, "next": [[0, 40, 3]]}
    assert read(repeated, equal=True).next == {0: (40, 3)}
    with pytest.raises(BadInput, match="beyond the share of a worker"):
        read(repeated)


@pytest.mark.parametrize("state", [None, [], 5, "state"])
def test_what_is_no_object_is_an_error(state: Any) -> None:
    with pytest.raises(BadInput, match="not what state_dict gives"):
        read(state)


@pytest.mark.parametrize("name", list(STATE))
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(BadInput, match=f"the state lacks {name};"):
        read({key: value for key, value in STATE.items() if key != name})


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"samples": 12}, "samples 12, this one has 11"),
        ({"seed": None}, "seed None, this one has 0"),
        ({"digest": "60"}, "as many samples of other sets or annotations"),
        ({"epoch": -1}, "epoch is -1"),
        ({"epoch": True}, "epoch is True"),
        ({"workers": 0}, "workers is 0"),
        ({"workers": 5}, "workers is 5"),
        ({"last": 2}, "last is 2"),
        ({"last": "0"}, "last is '0'"),
        ({"next": None}, "next is None, not a list"),
        ({"next": [[0]]}, r"not \[share, samples tried, samples given\]"),
        ({"next": [[0, "x", 1]]}, r"not \[share, samples tried, samples given\]"),
        ({"next": [[0, 1.0, 1]]}, r"not \[share, samples tried, samples given\]"),
        ({"next": [5]}, r"not \[share, samples tried, samples given\]"),
        ({"next": [[0, -5, 0]]}, "beyond the share"),
        ({"next": [[0, 1, -1]]}, "beyond the share"),
        ({"next": [[0, 7, 7]]}, "beyond the share"),
        ({"next": [[1, 6, 6]]}, "beyond the share"),
        ({"next": [[0, 1, 2]]}, "beyond the share"),
        ({"next": [[2, 1, 1]]}, "beyond the share"),
        ({"next": [[0, 1, 1], [0, 2, 2]]}, "beyond the share"),
    ],
)
def test_a_state_that_cannot_be_is_an_error(changed: dict[str, Any], error: str) -> None:
    with pytest.raises(BadInput, match=error):
        read({**STATE, **changed})
