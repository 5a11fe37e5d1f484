"""What an import counts: every record is imported, or skipped for one reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ImportCounts", "problem_of"]

# Records that the summary names, of each reason.
_NAMED = 10


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
    incomplete: int = 0  # sets with an image that was not found

    def skip(self, reason: str, where: str, detail: str) -> None:
        """Count a skipped record. where: its file and number. detail: what it has, for the summary."""
        self.skipped[reason] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < _NAMED:
            named.append(f"{where}: {detail}" if detail else where)

    def note(self, text: str) -> None:
        """Add a sentence to the summary, once."""
        if text not in self.notes:
            self.notes.append(text)

    def to_json(self, images: Mapping[str, Any]) -> dict[str, Any]:
        """The counts for the manifest, with those of `ImageFinder.counts`; records = imported + the sum of skipped."""
        return {
            "records": self.records,
            "imported": self.imported,
            "skipped": dict(sorted(self.skipped.items())),
            "examples": dict(sorted(self.examples.items())),
            "annotations": self.annotations,
            "repeated_ids": self.repeated_ids,
            "incomplete_sets": self.incomplete,
            "images_named": images["named"],
            "images_found": images["found"],
            "images_not_found": images["not_found"],
            "images_not_found_examples": images["examples"],
            "notes": self.notes,
        }


def problem_of(said: Mapping[str, Any]) -> str:
    """Which records were left out and which images were not found, as a phrase; "" where there are none."""
    parts = [f"{count} records: {reason}" for reason, count in said["skipped"].items()]
    parts += [f"{count} images {reason}" for reason, count in said["images_not_found"].items()]
    return "; ".join(parts)
