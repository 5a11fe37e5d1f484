"""Pair mining over the embedding store: sets of images worth comparing, each with its reasons. Imports no training."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from index.moved import watch_moved_imports

if TYPE_CHECKING:
    from mining.sets.image_sets import ImageSet, ImageSets, Member
    from mining.sets.pair_set import PairSet

__all__ = ["ImageSet", "ImageSets", "Member", "PairSet"]


watch_moved_imports()


# Imported when they are first used: `clipmine mine --help` needs the names of the strategies and no Arrow.
def __getattr__(name: str) -> Any:
    if name in __all__:
        module = "pair_set" if name == "PairSet" else "image_sets"
        return getattr(importlib.import_module(f"mining.sets.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
