"""The versions of the packages that decide what workers compute, compared between machines."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from index.errors import BadInput

__all__ = ["compare_versions", "versions"]

# Packages whose absence ends a job, or whose version may change its bytes. faiss comes under several names.
PACKAGES = ("torch", "open_clip_torch", "transformers", "numpy", "pyarrow", "pillow", "faiss-cpu", "faiss-gpu")
_ANY_OF = ("faiss-cpu", "faiss-gpu")


def versions() -> dict[str, str]:
    """The version of Python and of each of the packages that this machine has."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def compare_versions(here: Mapping[str, str], there: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each package that some machines have in another version than this one.

    Raises BadInput where a machine lacks a package that this one has.
    """
    others: dict[tuple[str, str], list[str]] = {}
    for host, own in sorted(there.items()):
        for name, wanted in here.items():
            if name in _ANY_OF and any(each in own for each in _ANY_OF):
                continue
            if name not in own:
                raise BadInput(f"{host} lacks the package {name}: install clipmine on every machine of the cluster")
            if own[name] != wanted:
                others.setdefault((name, own[name]), []).append(host)
    return [
        f"{_hosts(hosts)} {name} {other}, this machine {here[name]}; results may differ in their last digits"
        for (name, other), hosts in others.items()
    ]


def _hosts(hosts: list[str]) -> str:
    if len(hosts) > 3:
        return f"{', '.join(hosts[:2])} and {len(hosts) - 2} machines more have"
    return f"{', '.join(hosts)} {'has' if len(hosts) == 1 else 'have'}"
