"""Paths that mean the same to the workers of a job as to the command: a worker may run in another folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from index.errors import BadInput
from index.files import is_local, local_path

__all__ = ["absolute", "with_absolute"]

Config = TypeVar("Config", bound=Any)


def absolute(path: str | None) -> str | None:
    """A local path made absolute; a URL as it is."""
    return str(local_path(path).absolute()) if path is not None and is_local(path) else path


def with_absolute(config: Config, *names: str, executor: str) -> Config:
    """The configuration with these fields made absolute, unchanged for local workers, which run in our folder.

    Raises BadInput where no worker would find such a place.

    `ray job submit --working-dir` gives the command and each node a copy of a folder, so what one writes into its copy
    the others do not see, and all copies are deleted with the job.
    """
    if executor == "local":
        return config
    places = {name: absolute(getattr(config, name)) for name in names}
    if executor == "ray" and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        copied = os.path.realpath(Path.cwd())
        for name, place in places.items():
            if place is not None and is_local(place) and os.path.realpath(place).startswith(copied + os.sep):
                raise BadInput(
                    f"{getattr(config, name)}: lies in the folder that `ray job submit --working-dir` copies to each "
                    "node and deletes afterwards; name a folder that all nodes share by its whole path, or an object "
                    "store"
                )
    changed: Config = replace(config, **places)
    return changed
