"""Which sets of a part are decided, written as they are; parts of annotations are cut from it.

    PAIRS/annotations/NAME.run/
      annotate.json      what decides the answers: kind, model, prompts; another run under this name is refused
      journal.jsonl      a line for each decided set: {"set_id", "annotations": [...]}; annotations or rejected answers
      ledger.jsonl       `mining.annotate.ledger`
    PAIRS/annotations/NAME_000000.parquet, NAME_005000.parquet, ...   the annotations of lines 0.., 5000.., ...

A part is written when 5,000 sets are waiting for one, and at the end of each run. Which lines it holds is known from
its name and its number of rows, so a run that was killed at any point goes on from the journal: no set is asked again
that is in it, and none is in two parts. A part that was deleted is written again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from mining.annotate.line_file import LineFile, whole_lines
from mining.sets.annotation import Annotation
from mining.sets.annotations import Annotations
from mining.sets.image_sets import ImageSets

__all__ = ["REJECTED", "Journal"]

# The kind of answers that were not understood; content: {"kind", "reason", "text", "attempts"}. No turns, so that no
# format takes them for training.
REJECTED = "rejected"
PART_SETS = 5_000


class Journal:
    """The journal of one name. decided: the ids of its sets; kinds: the number of annotations of each kind."""

    def __init__(self, sets: ImageSets, folder: Path, name: str, part_sets: int = PART_SETS) -> None:
        """folder: NAME.run. Raises BadInput where a line is damaged, or parts of this name do not belong to it."""
        self._sets, self._name, self._part_sets = sets, name, part_sets
        self.path = folder / "journal.jsonl"
        self.decided: dict[str, bool] = {}  # id -> whether it has an annotation, not only rejected answers
        self.kinds: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()  # of rejected answers
        self._places: list[tuple[int, int]] = []
        self._counts: list[int] = []
        self.parts = 0
        for number, (offset, line) in enumerate(whole_lines(self.path), 1):
            try:
                said = json.loads(line)
                self._note(said["set_id"], said["annotations"], (offset, len(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInput(f"{self.path}, line {number}: is not a decided set; delete the line") from error
        self._file = LineFile(self.path)
        self._free = self._lines_without_part()

    @property
    def waiting(self) -> int:
        """Decided sets that are in no part yet."""
        return sum(self._free)

    def undecided(self, sets: ImageSets) -> ImageSets:
        """The sets of a view that are not decided yet."""
        done = pc.is_in(_ids(sets), value_set=pa.array(list(self.decided), pa.string()))
        return sets.select(np.flatnonzero(~np.asarray(done)))

    def counts(self, sets: ImageSets) -> tuple[int, int]:
        """How many sets of a view are annotated, and how many have only rejected answers."""
        known = [self.decided[each] for each in _ids(sets).to_pylist() if each in self.decided]
        return sum(known), len(known) - sum(known)

    def add(self, set_id: str, annotations: Sequence[Annotation]) -> None:
        """Note a decided set with its annotations, at least one; writes a part where enough are waiting."""
        said = [each.to_json() for each in annotations]
        self._note(set_id, said, self._file.append({"set_id": set_id, "annotations": said}))
        self._free.append(1)
        if len(self._places) % self._part_sets == 0:
            self.write_parts()

    def write_parts(self) -> None:
        """Write what is in no part as new parts. Raises BadInput as `ImageSets.add_annotations` does."""
        self._file.sync()
        lines = np.flatnonzero(np.frombuffer(bytes(self._free), np.uint8))
        for run in np.split(lines, np.flatnonzero(np.diff(lines) != 1) + 1):
            for first in range(0, len(run), self._part_sets):
                chunk = run[first : first + self._part_sets].tolist()
                self._sets.add_annotations(self._read(chunk), f"{self._name}_{chunk[0]:06d}")
                self._free[chunk[0] : chunk[-1] + 1] = bytes(len(chunk))
                self.parts += 1

    def close(self) -> None:
        self._file.close()

    def _note(self, set_id: str, said: list[dict[str, Any]], place: tuple[int, int]) -> None:
        self.decided[set_id] = any(each["kind"] != REJECTED for each in said)
        self.kinds.update(each["kind"] for each in said)
        self.reasons.update(str(each["content"]["reason"]) for each in said if each["kind"] == REJECTED)
        self._places.append(place)
        self._counts.append(len(said))

    def _read(self, lines: Sequence[int]) -> list[Annotation]:
        found = []
        for line in lines:
            said = json.loads(self._file.read(*self._places[line]))
            found += [Annotation.from_json(said["set_id"], each) for each in said["annotations"]]
        return found

    def _lines_without_part(self) -> bytearray:
        """1 for each line that is in no part, else 0."""
        free = bytearray(b"\x01" * len(self._places))
        ends = np.cumsum(self._counts, dtype=np.int64)
        for part, marker in Annotations.open(self._sets.path).parts:
            name, _, digits = part.rpartition("_")
            if name != self._name or len(digits) < 6 or not digits.isdigit():
                continue
            first, rows = int(digits), int(marker["rows"])
            before = int(ends[first - 1]) if 0 < first <= len(ends) else 0
            last = int(np.searchsorted(ends, before + rows))
            if first >= len(ends) or last >= len(ends) or ends[last] != before + rows or 0 in free[first : last + 1]:
                raise BadInput(
                    f"{self._sets.path}/annotations/{part}.parquet: does not fit the journal {self.path}; annotate "
                    "under another --name, or delete the parts of this name (.parquet and .json)"
                )
            free[first : last + 1] = bytes(last + 1 - first)
            self.parts += 1
        return free


def _ids(sets: ImageSets) -> pa.Array:
    return sets.table(["set_id"])["set_id"].combine_chunks()
