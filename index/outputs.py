"""Claiming an output folder for one job, so that the same job can go on in it and no other can.

The claim is a small JSON file with a hash of all that decides the output, written before anything else; the job's own
manifest comes last. Knows no job.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from index.errors import OutputExists
from index.files import exists, hash_json, is_local, join, local_path, make_folder, read_bytes, resolve, write_atomic

__all__ = ["claim_folder", "remove_folder"]


def claim_folder(out: str, claim: str, job: object) -> bool:
    """Claim the folder `out` with the file `claim`; True when this very job has been completed there.

    job: plain JSON data that decides the output. OutputExists when the folder holds another job or foreign files.
    """
    identity = hash_json(job)
    path = join(out, claim)
    if exists(path):
        if _claimed(path) != identity:
            raise OutputExists(
                f"{out}: holds the output of another configuration{_difference(path, job)}; choose another folder or "
                "delete it"
            )
        return exists(join(out, "manifest.json"))
    if exists(out) and not _is_empty_folder(out):
        raise OutputExists(f"{out}: is there already and is not ours to continue; choose another folder or delete it")
    make_folder(out)
    write_atomic(path, json.dumps({"job": identity, "parts": _parts(job)}) + "\n")
    return False


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Delete a folder of intermediate files that we wrote; no error when it is gone."""
    if is_local(path):
        shutil.rmtree(local_path(path), ignore_errors=True)
        return
    file_system, inside = resolve(path)
    if file_system.exists(inside):
        file_system.rm(inside, recursive=True)


def _claimed(path: str) -> str | None:
    return _content(path).get("job")


def _content(path: str) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _parts(job: object) -> dict[str, str]:
    return {name: hash_json(value) for name, value in job.items()} if isinstance(job, dict) else {}


def _difference(path: str, job: object) -> str:
    """What of the job is another than in the claim: " (other concepts, k)"; "" where that is not known."""
    known, own = _content(path).get("parts"), _parts(job)
    if not isinstance(known, dict) or not known:
        return ""
    names = [name for name in own if known.get(name) != own[name]]
    return f" (other {', '.join(names)})" if names else ""


def _is_empty_folder(path: str) -> bool:
    if is_local(path):
        folder = local_path(path)
        return folder.is_dir() and not any(folder.iterdir())
    file_system, inside = resolve(path)
    return bool(file_system.isdir(inside)) and not file_system.ls(inside)
