"""Reading an image-text corpus (tars, folders, URL tables), and downloading one."""

from __future__ import annotations

from typing import NoReturn

from index.moved import moved_name


def __getattr__(name: str) -> NoReturn:
    moved_name(__name__, name)
