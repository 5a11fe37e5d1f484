"""Captions of a folder's images in `metadata.jsonl` or `metadata.csv`, as Hugging Face's imagefolder has them.

A row names an image by `file_name`, relative to the metadata file's folder; its other fields are those of a .json
side-car, with `text` as another name of `caption`. Metadata files may lie in subfolders too.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from index import files
from index.corpus.captions import TextRejected, decode_text
from index.corpus.samples import MAX_SIDECAR_BYTES, PassedOver
from index.errors import BadInput

__all__ = ["is_metadata_file", "read_metadata_files"]

_NAMES = ("metadata.jsonl", "metadata.csv")
_FILE_NAME = "file_name"


def is_metadata_file(path: str) -> bool:
    """Whether a file of a folder has the name of a metadata file."""
    return path.rpartition("/")[2] in _NAMES


def read_metadata_files(
    root: str, paths: Iterable[str], images: Iterable[str], encoding: str | None, passed: PassedOver
) -> dict[str, str]:
    """The JSON object that the metadata files have for each of `images`, by the image's path.

    Lines that cannot be read, name no image, or name one again are counted in `passed`.

    Raises:
        BadInput: a metadata file that is neither UTF-8 nor in `encoding`.
    """
    known = set(images)
    found: dict[str, str] = {}
    for path in sorted(paths):
        folder, slash, name = path.rpartition("/")
        try:
            text = decode_text(files.read_bytes(files.join(root, path)), encoding)
        except TextRejected as error:
            raise BadInput(f"{root}/{path}: is not UTF-8; name its encoding with --caption-encoding") from error
        rows = _csv_rows(text) if name.endswith(".csv") else _json_rows(text)
        for number, row in enumerate(rows, 1):
            place = f"{path}, row {number}"
            image = row.pop(_FILE_NAME, None) if row is not None else None
            if row is None or not isinstance(image, str):
                passed.add(f"broken rows of {name}", place)
                continue
            image = f"{folder}{slash}{image.removeprefix('./')}"
            if image not in known:
                passed.add(f"rows of {name} without their image", place)
            elif image in found:
                passed.add(f"repeated rows of {name}", place)
            else:
                found[image] = _as_sidecar(row)
    return found


def _json_rows(text: str) -> Iterator[dict[str, Any] | None]:
    """Each line's object; None for a line that is none. Blank lines are skipped."""
    for line in io.StringIO(text):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            row = None
        yield row if isinstance(row, dict) else None


def _csv_rows(text: str) -> Iterator[dict[str, Any] | None]:
    """Each row by its header's names; None for a row of another length."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    limit = csv.field_size_limit(MAX_SIDECAR_BYTES)
    try:
        for row in reader:
            yield None if None in row or None in row.values() else dict(row)
    except csv.Error:
        yield None
    finally:
        csv.field_size_limit(limit)


def _as_sidecar(row: dict[str, Any]) -> str:
    if "text" in row and not row.get("caption"):
        row = {**{name: value for name, value in row.items() if name != "text"}, "caption": row["text"]}
    return json.dumps(row, sort_keys=True)
