"""What an import is asked for, and its files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from index.errors import BadInput
from index.files import is_local, local_path, resolve, sha256_file
from mining.sets.importers.formats import Format
from mining.sets.importers.import_counts import shown_list
from mining.sets.importers.record_files import columns_of, suffix_of

__all__ = ["ImportConfig", "check_columns", "job_of", "list_files"]

# What makes a path a pattern, where there is no such file.
_PATTERN = re.compile(r"[*?[]")
# To be increased when an import of the same files gives other sets than in an earlier version.
_VERSION = 2


@dataclass(frozen=True)
class ImportConfig:
    """What to import. files: of records, folders of these or patterns. format: a name of `formats.FORMATS`, or `table`.

    out: folder for the image sets. images: folders, tars and files of base64 images in which the images are looked up.
    mapping: (role, column) of a table, as `table.parse_mapping` gives it; kind: of its annotations. collection: name of
    the collection, of which the sets' strategy and ids are made; by default the format's. annotator: who wrote the
    annotations, where the records do not say it; by default the collection. licence, homepage: instead of the known
    ones. only_complete: leave records out of which an image is not found. strict: an error where anything was left out
    or not found.
    """

    files: tuple[str, ...]
    format: str
    out: str
    images: tuple[str, ...] = ()
    mapping: tuple[tuple[str, str], ...] = ()
    kind: str | None = None
    collection: str | None = None
    annotator: str | None = None
    licence: str | None = None
    homepage: str | None = None
    only_complete: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if not self.files:
            raise BadInput("name the files to import")


def list_files(paths: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """The files of records: those named, and those of a format's suffixes in folders and patterns, sorted.

    Raises BadInput for a path where there is none.
    """
    found: list[str] = []
    for path in paths:
        if is_local(path) and local_path(path).is_file():
            found.append(path)
            continue
        system, inside = resolve(path)
        if not _PATTERN.search(path) and not system.exists(inside):
            raise BadInput(f"{path}: does not exist; name the file of records, or a folder that has it")
        if system.isdir(inside):
            listed = sorted(str(name) for name in system.ls(inside, detail=False))
            own = [name for name in listed if suffix_of(name) in suffixes]
        else:
            own = [str(name) for name in sorted(system.glob(inside))]
        if is_local(path):  # a file is read several times, so that a pipe is none
            own = [name for name in own if local_path(name).is_file()]
            if not own and local_path(path).exists() and not local_path(path).is_dir():
                raise BadInput(f"{path}: is no regular file; write its records to one")
        if not own:
            raise BadInput(f"{path}: has no file of records ({', '.join(suffixes)})")
        found += own if is_local(path) else [str(system.unstrip_protocol(name)) for name in own]
    return list(dict.fromkeys(found))


def check_columns(form: Format, files: Sequence[str]) -> None:
    """Raise BadInput where a table lacks a column that the format, or the mapping, needs."""
    for path in files:
        if suffix_of(path) not in form.suffixes:
            raise BadInput(f"{path}: {form.name} is read from {', '.join(form.suffixes)}")
        if not form.columns or (form.read is not None) or (not form.rows and suffix_of(path) in (".json", ".jsonl")):
            continue
        known = columns_of(path)
        lacking = [name for name in form.columns if name not in known]
        if lacking:
            raise BadInput(f"{path}: has no column {shown_list(lacking)}; it has {shown_list(known) or 'none'}")


def job_of(config: ImportConfig, files: Sequence[str]) -> dict[str, Any]:
    """The settings and the hashes of the files, which decide the output, as JSON data.

    Raises BadInput for a file that cannot be read.
    """
    try:
        job = asdict(config) | {"files": [[path, sha256_file(path)] for path in files]}
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be read ({error.strerror or type(error).__name__})") from error
    for name in ("out", "strict"):  # they do not change the sets
        del job[name]
    return job | {"version": _VERSION}
