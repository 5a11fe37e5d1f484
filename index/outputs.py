"""Output folders: a job claims one, so that the same job can continue in it and no other job can write there.

The claim is a small JSON file with the settings that decide the output. It is written before anything else. The job's
own `manifest.json` is written last and means that the output is complete.

    with only_writer(out), unused_claim_released(out, "job.json"):
        if not claim_folder(out, "job.json", job): ...

A run that ends with an error and has written nothing but its claim deletes it, so that a corrected command can use the
folder. Where a run was killed before it had written anything, the next one under `only_writer` takes the folder over.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from index.errors import ClipmineError, OutputExists
from index.files import (
    as_url,
    exists,
    file_size,
    hash_json,
    is_local,
    join,
    list_names,
    local_path,
    make_folder,
    read_bytes,
    remove,
    resolve,
    write_atomic,
)
from index.lease import is_held_here, only_writer
from index.remote import attempt

__all__ = [
    "check_free",
    "claim_folder",
    "only_writer",
    "release_unused_claim",
    "remove_folder",
    "unused_claim_released",
]


def claim_folder(
    out: str, claim: str, job: Mapping[str, Any], *, values: bool = False, besides: Collection[str] = ()
) -> bool:
    """Claim the folder `out` with the file `claim`; True when the same job has been completed there.

    Another job's claim is replaced where nothing was written under it and this process holds the folder's lease.

    Args:
        job: plain JSON data that decides the output.
        values: write the values of `job` into the claim instead of their hashes, so that people can read them there
            and an error can name them.
        besides: paths in `out` that are no output, see `release_unused_claim`.

    Raises:
        OutputExists: `out` is a file, holds the output of another job (the message says what differs), or holds files
            without this claim.
    """
    path = join(out, claim)
    if exists(path):
        try:
            _check_claim(out, path, job, values)
        except OutputExists:
            if not (is_held_here(out) and release_unused_claim(out, claim, besides)):
                raise
        else:
            return exists(join(out, "manifest.json"))
    check_free(out, claim)
    make_folder(out)
    if values:
        write_atomic(path, json.dumps(job, indent=1, sort_keys=True) + "\n")
    else:
        write_atomic(path, json.dumps({"job": hash_json(job), "parts": _hashes(job)}) + "\n")
    return False


def release_unused_claim(out: str, claim: str, besides: Collection[str] = ()) -> bool:
    """Delete the claim of a run that has written nothing; whether it was so.

    besides: files and folders, by their paths in `out`, that are no output, such as intermediate ones that are quickly
    made again; they are deleted too. Empty files and folders, and hidden files (of a killed writer), are no output
    either.
    """
    if not exists(join(out, claim)) or _has_output(out, {claim, *besides}):
        return False
    for name in list_names(out):
        if not name.startswith(".") and name != claim:
            remove_folder(join(out, name))
    remove(join(out, claim))
    return True


@contextmanager
def unused_claim_released(out: str, claim: str, besides: Collection[str] = (), *, ours: bool = True) -> Iterator[None]:
    """Release an unused claim when the block ends with an error, and then remove the folder if it is empty.

    besides: as in `release_unused_claim`. ours: False for a worker whose claim another one writes; it releases none. A
    folder that was there before the block began stays, and so does the claim of another job (OutputExists).
    """
    is_new = is_local(out) and not local_path(out).exists()
    try:
        yield
    except OutputExists:  # the claim is another job's
        raise
    except BaseException:
        if not ours:
            raise
        with suppress(OSError, ClipmineError):  # the error that ended the block is the one to show
            if release_unused_claim(out, claim, besides) and is_new:
                local_path(out).rmdir()
        raise


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
    """Delete a folder of intermediate files that we wrote, or a single one; no error when it does not exist."""
    if is_local(path):
        if local_path(path).is_file():
            local_path(path).unlink(missing_ok=True)
        shutil.rmtree(local_path(path), ignore_errors=True)
        return
    file_system, inside = resolve(path)

    def delete() -> None:
        if file_system.exists(inside):
            with suppress(FileNotFoundError):  # an earlier try has removed some of it
                file_system.rm(inside, recursive=True)

    attempt(as_url(path), delete)


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


def _has_output(out: str, known: Collection[str], inside: str = "") -> bool:
    """Whether a visible file is in `out`, at any depth, that does not belong to one of the `known` paths in it."""
    for name in list_names(join(out, inside) if inside else out):
        path = f"{inside}/{name}" if inside else name
        if name.startswith(".") or path in known:
            continue
        place = join(out, path)
        if _is_local_folder(place) or any(each.startswith(f"{path}/") for each in known):
            if _has_output(out, known, path):
                return True
        elif not is_local(place) or local_path(place).is_symlink() or file_size(place):
            return True
    return False


def _is_local_folder(path: str) -> bool:
    """False for remote folders: object stores have none that are empty."""
    return is_local(path) and local_path(path).is_dir() and not local_path(path).is_symlink()


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
