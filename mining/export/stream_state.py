"""The state of a stream as `StreamedSets.state_dict` gives it, checked before a stream goes on from it.

    {"epoch": 0, "samples": 45, "seed": 0, "ranks": [0, 1], "digest": "5f0c…", "workers": 2, "next": [[0, 8, 8]],
     "last": 0}

A checkpoint may be of other data, be edited or be damaged. Going on from it would leave out samples silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from index.errors import BadInput

__all__ = ["StreamState", "read_state"]

_REMEDY = "load what state_dict of this stream gave, or begin the epoch anew with set_epoch"
_LARGEST = 1 << 62


@dataclass(frozen=True)
class StreamState:
    """next: share of a worker -> (samples tried, samples given). last: the share that gave the last sample, or -1."""

    epoch: int
    workers: int
    next: Mapping[int, tuple[int, int]]
    last: int


def read_state(state: object, shape: Mapping[str, Any], count: int, equal: bool, most_workers: int) -> StreamState:
    """The state that was given to a stream.

    shape: what the state and the stream must agree in. count: samples of the rank in an epoch; equal: whether they are
    exactly so many. Raises BadInput where the state is of another stream or is none.
    """
    if not isinstance(state, Mapping):
        raise BadInput(f"the state is {type(state).__name__}, not what state_dict gives; {_REMEDY}")
    lacking = [name for name in (*shape, "epoch", "workers", "next", "last") if name not in state]
    if lacking:
        raise BadInput(f"the state lacks {', '.join(lacking)}; {_REMEDY}")
    for name, value in shape.items():
        if name != "digest" and state[name] != value:
            raise BadInput(f"the state is of a stream with {name} {state[name]!r:.100}, this one has {value}")
    if state["digest"] != shape["digest"]:
        raise BadInput(
            "the state is of a stream with as many samples of other sets or annotations; give that stream the same "
            "sets, or begin the epoch anew with set_epoch"
        )
    epoch, workers = _number(state, "epoch", 0, _LARGEST - 1), _number(state, "workers", 1, most_workers)
    return StreamState(epoch, workers, _next(state, workers, count, equal), _number(state, "last", -1, workers - 1))


def _number(state: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = state[name]
    if type(value) is not int or not least <= value <= most:  # `type`, since True == 1
        raise BadInput(f"the state's {name} is {value!r:.50}, not a number from {least} to {most}; {_REMEDY}")
    return value


def _next(state: Mapping[str, Any], workers: int, count: int, equal: bool) -> dict[int, tuple[int, int]]:
    entries = state["next"]
    if not isinstance(entries, list | tuple):
        raise BadInput(f"the state's next is {entries!r:.50}, not a list; {_REMEDY}")
    found: dict[int, tuple[int, int]] = {}
    for entry in entries:
        if not isinstance(entry, list | tuple) or len(entry) != 3 or any(type(each) is not int for each in entry):
            raise BadInput(f"the state's next has {entry!r:.50}, not [share, samples tried, samples given]; {_REMEDY}")
        share, tried, given = entry
        own = count // workers + int(share < count % workers)
        # Where samples are repeated until there are enough, more may have been tried than the share has.
        most = _LARGEST if equal else own
        if not (0 <= share < workers and 0 <= given <= tried <= most and given <= own) or share in found:
            raise BadInput(f"the state's next has {entry!r:.50}, which is beyond the share of a worker; {_REMEDY}")
        found[share] = (tried, given)
    return found
