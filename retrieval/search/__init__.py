"""Search: by graph or exact scan, which of the two a planner picks; near-duplicates among the results."""

from __future__ import annotations

from typing import NoReturn

from index.moved import moved_name


def __getattr__(name: str) -> NoReturn:
    moved_name(__name__, name)
