"""What the readers of concept files give: names with what the file says of each, not yet checked.

Names are kept as they are written: with the joiners of their script (U+200C and U+200D, which spell Persian, Hindi and
emoji), and with marks that only lay out a line: soft hyphens, directions of writing, spaces without width. These marks
do not make two names of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ConceptFile", "NamedConcept", "clean_name", "quoted", "without_layout_marks"]

# Soft hyphen, Arabic letter mark, zero-width space, left-to-right and right-to-left mark, embeddings and overrides,
# word joiner, isolates.
_LAYOUT_MARKS = dict.fromkeys(
    [0x00AD, 0x061C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A)]
)
_SHOWN, _SHOWN_LENGTH = 3, 40


@dataclass(frozen=True)
class NamedConcept:
    """A concept of a file; line: where it is, from 1. prompts: its queries as they stand, beside those of templates."""

    line: int | None
    name: str
    class_id: str | None = None
    aliases: tuple[str, ...] = ()
    templates: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConceptFile:
    """The concepts of a file in order; templates: the file's own. notes: sentences on what was not read."""

    where: str
    concepts: tuple[NamedConcept, ...]
    templates: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def clean_name(name: str) -> str:
    """The name with single spaces, and without byte-order marks (of files that were joined)."""
    return " ".join(name.replace("\ufeff", " ").split())


def without_layout_marks(name: str) -> str:
    """The name without the marks that only lay out a line."""
    return name.translate(_LAYOUT_MARKS)


def quoted(texts: Sequence[str]) -> str:
    """The first of the texts, in quotes and cut, and how many there are beyond."""
    cut = [text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "..." for text in texts[:_SHOWN]]
    shown = ", ".join(map(repr, cut))
    return shown + (f", and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else "")
