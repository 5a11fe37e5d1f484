"""Pair mining over the embedding store: sets of images worth comparing, each with its reasons. Imports no training."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from index.moved import watch_moved_imports

if TYPE_CHECKING:
    from mining.sets.image_sets import ImageSet, ImageSets, Member, PairSet

__all__ = ["ImageSet", "ImageSets", "Member", "PairSet"]


watch_moved_imports()


# Imported when they are first used: `clipmine mine --help` needs the names of the strategies and no Arrow.
def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("mining.sets.image_sets"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
