"""Output folders: a job claims one, so that the same job can continue in it and no other job can write there.

The claim is a small JSON file with the settings that decide the output. It is written before anything else. The job's
own `manifest.json` is written last and means that the output is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

from index.errors import OutputExists
from index.files import exists, hash_json, is_local, join, local_path, make_folder, read_bytes, resolve, write_atomic
from index.lease import only_writer

__all__ = ["check_free", "claim_folder", "only_writer", "remove_folder"]


def claim_folder(out: str, claim: str, job: Mapping[str, Any], *, values: bool = False) -> bool:
    """Claim the folder `out` with the file `claim`; True when the same job has been completed there.

    Args:
        job: plain JSON data that decides the output.
        values: write the values of `job` into the claim instead of their hashes, so that people can read them there
            and an error can name them.

    Raises:
        OutputExists: `out` is a file, holds the output of another job (the message says what differs), or holds files
            without this claim.
    """
    path = join(out, claim)
    if exists(path):
        _check_claim(out, path, job, values)
        return exists(join(out, "manifest.json"))
    check_free(out, claim)
    make_folder(out)
    if values:
        write_atomic(path, json.dumps(job, indent=1, sort_keys=True) + "\n")
    else:
        write_atomic(path, json.dumps({"job": hash_json(job), "parts": _hashes(job)}) + "\n")
    return False


def check_free(out: str, claim: str) -> None:
    """Raise OutputExists where no job may claim the folder: it is a file, or has visible files and no `claim`.

    For jobs that know all that decides their output only after they have read their input.
    """
    if exists(join(out, claim)):
        return
    if is_local(out) and local_path(out).is_file():
        raise OutputExists(f"{out}: is a file; choose a folder for the output")
    if _holds_files(out):
        raise OutputExists(f"{out}: is not empty and holds no run to continue; choose another folder or delete it")


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Delete a folder of intermediate files that we wrote; no error when it does not exist."""
    if is_local(path):
        shutil.rmtree(local_path(path), ignore_errors=True)
        return
    file_system, inside = resolve(path)
    if file_system.exists(inside):
        file_system.rm(inside, recursive=True)


def _check_claim(out: str, path: str, job: Mapping[str, Any], values: bool) -> None:
    """Raise OutputExists unless the claim at `path` is the claim of `job`."""
    try:
        claimed = json.loads(read_bytes(path))
    except ValueError:
        claimed = None
    if not isinstance(claimed, dict):
        raise OutputExists(f"{path}: is damaged; choose another folder or delete {out}")
    if values:
        if difference := _first_difference(claimed, job):
            raise OutputExists(f"{out}: was begun with {difference}; choose another folder or delete it")
    elif claimed.get("job") != hash_json(job):
        names = _differing_names(claimed.get("parts"), job)
        raise OutputExists(
            f"{out}: holds the output of another configuration{names}; choose another folder or delete it"
        )


def _first_difference(claimed: Mapping[str, Any], job: Mapping[str, Any]) -> str | None:
    """The first field of `job` that differs: "batch_size 8, not 16", or "model precision fp32, not bf16" if nested."""
    for name, value in job.items():
        was = claimed.get(name)
        if was == value:
            continue
        if isinstance(was, dict) and isinstance(value, Mapping):
            nested = _first_difference(was, {**dict.fromkeys(was), **value})
            if nested is None:  # a field that one of them lacks and that is None in the other
                continue
            return f"{name} {nested}"
        return f"{name} {was}, not {value}"
    return None


def _hashes(job: Mapping[str, Any]) -> dict[str, str]:
    return {name: hash_json(value) for name, value in job.items()}


def _differing_names(claimed: object, job: Mapping[str, Any]) -> str:
    """The fields of `job` that differ from the claim: " (other concepts, k)"; "" when the claim lists none."""
    if not isinstance(claimed, dict) or not claimed:
        return ""
    names = [name for name, value in _hashes(job).items() if claimed.get(name) != value]
    return f" (other {', '.join(names)})" if names else ""


def _holds_files(folder: str) -> bool:
    """Whether a local or remote folder holds anything but hidden files, such as those of a killed writer."""
    if is_local(folder):
        path = local_path(folder)
        return path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir())
    file_system, inside = resolve(folder)
    if not file_system.isdir(inside):
        return bool(file_system.exists(inside))
    own = inside.rstrip("/")
    paths = [str(path).rstrip("/") for path in file_system.ls(inside, detail=False)]
    return any(path != own and not path.rpartition("/")[2].startswith(".") for path in paths)
