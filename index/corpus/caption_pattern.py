"""Captions from file names: `{id}_{caption}` reads "black swan" from `n02007558_black_swan.jpg`.

A pattern is literal text with fields in braces. A field takes the text up to the first occurrence of the literal after
it, the last field takes the rest, and no field may be empty; underscores in the caption become spaces. A pattern with
`/` is matched against as many folders as it names (`{caption}/{id}`: one folder for each class). Patterns are not
regular expressions, so matching takes time linear in the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from index.errors import BadInput

__all__ = ["CaptionPattern", "parse_caption_pattern"]

_EXAMPLE = "write it like '{id}_{caption}' or '{caption}/{id}'"


@dataclass(frozen=True)
class CaptionPattern:
    """A parsed pattern: `literals[0] field[0] literals[1] field[1] ... literals[-1]`."""

    literals: tuple[str, ...]
    fields: tuple[str, ...]

    def match(self, key: str) -> dict[str, str] | None:
        """The text of each field in `key` (a path without its extension), or None when it does not match."""
        depth = sum(literal.count("/") for literal in self.literals)
        rest = "/".join(key.split("/")[-depth - 1 :])
        if not rest.startswith(self.literals[0]):
            return None
        rest = rest[len(self.literals[0]) :]
        found: dict[str, str] = {}
        for position, field in enumerate(self.fields):
            literal = self.literals[position + 1]
            if position == len(self.fields) - 1:
                if not rest.endswith(literal):
                    return None
                value, rest = rest[: len(rest) - len(literal)], ""
            else:
                value, separator, rest = rest.partition(literal)
                if not separator:
                    return None
            if not value or "/" in value:
                return None
            found[field] = value
        found["caption"] = " ".join(found["caption"].replace("_", " ").split())
        return found if found["caption"] else None


def parse_caption_pattern(pattern: str) -> CaptionPattern:
    """Parse a pattern; BadInput when it has no `{caption}`, names a field twice or has no text between two fields."""
    pieces = re.split(r"\{([a-z_][a-z0-9_]*)\}", pattern)
    literals, fields = tuple(pieces[::2]), tuple(pieces[1::2])
    if any(brace in literal for literal in literals for brace in "{}"):
        raise BadInput(f"caption pattern {pattern!r}: a field is a lower-case name in braces; {_EXAMPLE}")
    if fields.count("caption") != 1:
        raise BadInput(f"caption pattern {pattern!r}: needs the field {{caption}} exactly once; {_EXAMPLE}")
    if len(set(fields)) != len(fields):
        raise BadInput(f"caption pattern {pattern!r}: a field is named twice; {_EXAMPLE}")
    if any(not literal for literal in literals[1:-1]):
        raise BadInput(f"caption pattern {pattern!r}: two fields touch; put text between them; {_EXAMPLE}")
    return CaptionPattern(literals, fields)
