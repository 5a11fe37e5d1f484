"""What an import counts: every record is imported, or skipped for one reason."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

__all__ = ["ImportCounts", "problem_of", "shown", "shown_list"]

# Records that the summary names, of each reason.
_NAMED = 10
# The same for other notes, and for columns.
_NOTES = 20
_COLUMNS = 20
_LONGEST_NOTE = 400
# Characters that end a line, move the cursor or turn the direction of writing; half surrogate pairs cannot be printed.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def shown(text: str, longest: int = 100) -> str:
    """A name of a stranger's file as part of a line: control characters escaped, the rest of a long one cut off."""
    cut = text if len(text) <= longest else text[:longest] + "..."
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _UNSHOWN else each for each in cut
    )


def shown_list(names: Iterable[str]) -> str:
    """The first 20 of these names, as `shown`."""
    found = list(names)
    more = f" and {len(found) - _COLUMNS:,} more" if len(found) > _COLUMNS else ""
    return ", ".join(map(shown, islice(found, _COLUMNS))) + more


@dataclass
class ImportCounts:
    """records = imported + skipped; every record that is skipped has one reason."""

    records: int = 0
    imported: int = 0
    annotations: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repeated_ids: int = 0
    unannotated: int = 0  # imported records of which nothing was said
    incomplete: int = 0  # sets with an image that was not found
    further_notes: int = 0  # notes that are not in `notes`

    def skip(self, reason: str, where: str, detail: str) -> None:
        """Count a skipped record. where: its file and number. detail: what it has, for the summary."""
        self.skipped[reason] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < _NAMED:
            named.append(f"{shown(where, 200)}: {shown(detail, 200)}" if detail else shown(where, 200))

    def note(self, text: str) -> None:
        """Add a sentence to the summary, once; of many, the first 20 are kept and the others counted."""
        line = shown(text, _LONGEST_NOTE)
        if line in self.notes:
            return
        if len(self.notes) < _NOTES:
            self.notes.append(line)
        else:
            self.further_notes += 1

    def to_json(self, images: Mapping[str, Any]) -> dict[str, Any]:
        """The counts for the manifest, with those of `ImageFinder.counts`; records = imported + the sum of skipped."""
        return {
            "records": self.records,
            "imported": self.imported,
            "skipped": dict(sorted(self.skipped.items())),
            "examples": dict(sorted(self.examples.items())),
            "annotations": self.annotations,
            "without_annotation": self.unannotated,
            "repeated_ids": self.repeated_ids,
            "incomplete_sets": self.incomplete,
            "images_named": images["named"],
            "images_found": images["found"],
            "images_not_found": images["not_found"],
            "images_not_found_examples": images["examples"],
            "notes": [*self.notes, *([f"and {self.further_notes:,} more notes"] if self.further_notes else [])],
        }


def problem_of(said: Mapping[str, Any]) -> str:
    """Which records were left out and which images were not found, as a phrase; "" where there are none."""
    parts = [f"{count} records: {reason}" for reason, count in said["skipped"].items()]
    parts += [f"{count} images {reason}" for reason, count in said["images_not_found"].items()]
    return "; ".join(parts)
