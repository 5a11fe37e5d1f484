"""The annotations that people correct one at a time, as JSON lines in PAIRS/annotations/corrections.jsonl.

    {"set_id": "1f0c2a7e-12_345", "annotation_id": "5b3f…", "kind": "comparison", "annotator": {"name": "person:Ann"},
     "turns": […], "content": {}, "parent": "9ac0…", "time": "2026-11-21T12:00:00+00:00"}

A line is a whole annotation, whose `parent` is the annotation that it replaces; what was corrected stays where it is.
`mining.sets.annotations` reads these lines after the parts. Thousands of corrections are one small file, where a part
for each would be two files.
"""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from index.files import exists, join, local_path
from mining.sets.annotation import Annotation
from mining.sets.appended_lines import append_line, read_lines

__all__ = ["CorrectionsFile", "corrections_path", "read_corrections"]


def corrections_path(path: str | os.PathLike[str]) -> str:
    """The file of the corrections in the folder of image sets `path`."""
    return join(path, "annotations", "corrections.jsonl")


def read_corrections(path: str | os.PathLike[str]) -> list[Annotation]:
    """The corrections in the folder of image sets `path`, in the order of writing; none where there is no file.

    A last line that was cut short is skipped: the call that wrote it did not return. Raises BadInput, with the line's
    number, for another broken line.
    """
    name = corrections_path(path)
    if not exists(name):
        return []
    found, _ = read_lines(name, _parse, "an annotation", "delete the line, or correct it")
    return list({each.annotation_id: each for each in found}.values())


class CorrectionsFile:
    """The corrections of a local folder of image sets, open for appending. Safe for threads of one process."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """path: the folder of image sets. Raises BadInput for a remote one."""
        self.path: Path = local_path(corrections_path(path))
        self._lock = threading.Lock()

    def add(self, annotation: Annotation) -> None:
        """Append an annotation; it is on the disk when this returns. Raises DiskFull."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        said = {"set_id": annotation.set_id, **annotation.to_json(), "time": time}
        with self._lock:
            append_line(self.path, json.dumps(said, ensure_ascii=False), _parse)


def _parse(line: bytes) -> Annotation:
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return Annotation.from_json(value["set_id"], value)
