"""Running work items: in local processes, on Ray, on Spark."""

from __future__ import annotations

from typing import NoReturn

from index.moved import moved_name


def __getattr__(name: str) -> NoReturn:
    moved_name(__name__, name)
