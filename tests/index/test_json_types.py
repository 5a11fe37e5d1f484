"""Values of another type, and numbers that no file of ours has, are found wherever they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from index.json_types import check_fields


@dataclass(frozen=True)
class _Inner:
    size: int
    share: float


@dataclass(frozen=True)
class _Outer:
    kind: Literal["one", "two"] = "one"
    inner: tuple[_Inner, ...] = (_Inner(1, 0.5), _Inner(2, 1))
    pair: tuple[int, int] = (10, 100)
    note: str | None = None
    named: Mapping[str, _Inner] = field(default_factory=lambda: {"a": _Inner(3, 0.0)})
    free: Mapping[str, Any] = field(default_factory=lambda: {"a": -1, "b": ["x"]})


def test_what_the_fields_say_is_accepted() -> None:
    check_fields(_Outer())
    check_fields(_Outer(kind="two", inner=(), note="text", named={}))


@pytest.mark.parametrize("size", ["7", None, True, 1.5, [], {}, -1, 1 << 63, float("nan")])
def test_other_numbers_are_refused_by_their_fields_name(size: Any) -> None:
    for outer in (_Outer(inner=(_Inner(1, 0.5), _Inner(size, 0.5))), _Outer(named={"b": _Inner(size, 0.0)})):
        with pytest.raises(ValueError, match=r"_Inner\.size is "):
            check_fields(outer)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "three"},
        {"kind": []},
        {"inner": [_Inner(1, 0.5)]},
        {"inner": ({},)},
        {"inner": (_Inner(1, float("inf")),)},
        {"pair": (1,)},
        {"note": 3},
        {"named": []},
        {"free": None},
    ],
)
def test_other_types_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=" is "):
        check_fields(replace(_Outer(), **change))
