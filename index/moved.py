"""Old import paths: an import from where a module was before it moved gives an ImportError that names the new place.

Kept for one version. `moved_modules.txt` is the list.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import resources
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NoReturn

__all__ = ["MovedFinder", "moved_folder", "moved_name", "places", "watch_moved_imports"]

_ROOTS = frozenset({"index", "retrieval", "customize", "mining", "jobs", "examples"})


@cache
def places() -> dict[str, str]:
    """The module where something is now, by where it was: `index.hnsw`, or `index.corpus:read_item` for a name."""
    found = {}
    for line in resources.files("index").joinpath("moved_modules.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            old, new = line.split()
            found[old] = new
    return found


class MovedFinder:
    """An import finder that finds nothing, and raises an ImportError for a module that has moved.

    Python asks it after all others, so an import that succeeds never reaches it.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.split(".")[0] in _ROOTS and name in places():
            raise ModuleNotFoundError(f"{name} has moved: import from {places()[name]} instead", name=name)
        return None


def watch_moved_imports() -> None:
    """Put the finder behind Python's own; a second call does nothing."""
    if MovedFinder not in sys.meta_path:
        sys.meta_path.append(MovedFinder)


def moved_name(package: str, name: str) -> NoReturn:
    """The `__getattr__` of a folder that was a module: for names that were in that module.

    Raises:
        ImportError: the name has moved; the message says where to.
        AttributeError: there was no such name.
    """
    if f"{package}:{name}" in places():
        raise ImportError(f"{package}.{name} has moved: import it from {places()[f'{package}:{name}']} instead")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def moved_folder(path: str) -> str:
    """The model folder `path`, or where it is now: older stores and commands name the small CLIP's former folder."""
    former = "examples/scenes/model"
    if path.endswith(f"/{former}") and not Path(path).exists():
        now = Path(path.removesuffix(former)) / "scenes" / "models" / "clip"
        if now.is_dir():
            return str(now)
    return path
