"""Captions from the bytes of side-car files: their encoding, and one rule for several captions.

`clipmine embed` and `clipmine evaluate` read captions by the same rule (`find_captions`): the lines of KEY.txt are
captions, and so are the texts of a list or of an object (a language each) under `caption` or `captions` in KEY.json.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from index.corpus.caption_pattern import CaptionPattern, parse_caption_pattern
from index.corpus.reading import Reading

__all__ = ["CaptionReader", "Captions", "TextRejected", "clean_text", "decode_text", "find_captions", "parse_sidecar"]

_MARKS = (  # UTF-32's first, since it begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# NaN is not valid JSON, but Python writes it (img2dataset does for empty table cells). `json.loads` would make a new
# decoder for each side-car.
_JSON = json.JSONDecoder(parse_constant=lambda _: None)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")


class TextRejected(ValueError):
    """A caption or side-car that cannot be used; `reason` is one of `index.corpus.samples.READ_REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Captions:
    """What side-cars say of an image.

    Attributes:
        first: the caption; "" where there is none.
        all: every caption; empty where there is none.
        unread: there is a caption field, and it is neither a text nor a list or an object of texts.
        blank: there is a caption, and it holds only white space.
    """

    first: str
    all: tuple[str, ...]
    unread: bool = False
    blank: bool = False


def decode_text(data: bytes, encoding: str | None = None) -> str:
    """The text of a caption file: by its byte-order mark, as UTF-8, or else in `encoding`.

    Raises:
        TextRejected: it is none of them ("caption_not_utf8"); no character is ever replaced.
    """
    try:
        for mark, name in _MARKS:
            if data.startswith(mark):
                return data.decode(name)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode(encoding or "utf-8")
        # Encodings such as UTF-16 and ISO-2022-JP use the bytes of ASCII for other letters.
        if encoding is not None and text.isascii():
            return data.decode(encoding)
    except UnicodeError as error:
        raise TextRejected("caption_not_utf8") from error
    if encoding is None and 3 * data.count(0) >= len(data) > 0:  # UTF-16 or UTF-32 without a mark
        raise TextRejected("caption_not_utf8")
    return text


def clean_text(text: str) -> str:
    """`text` as valid Unicode, without NULs and without line ends at the end; everything else is kept."""
    valid = text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return valid.replace("\0", "").rstrip("\r\n")


def parse_sidecar(data: bytes | None, encoding: str | None = None) -> dict[str, Any]:
    """The fields of a .json side-car; none where it is empty.

    Raises:
        TextRejected: "broken_sidecar", it is not a JSON object; "sidecar_not_utf8", its text cannot be decoded.
    """
    if data is None or not data.strip():
        return {}
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        try:
            text = data.decode(encoding or "utf-8")
        except UnicodeError as error:
            raise TextRejected("sidecar_not_utf8") from error
    try:
        fields = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise TextRejected("broken_sidecar") from error
    if not isinstance(fields, dict):
        raise TextRejected("broken_sidecar")
    return fields


def find_captions(text: str | None, fields: Mapping[str, Any], field: str | None = None) -> Captions:
    """The captions of an image from its caption file's text and its json's fields.

    All captions are: those of `captions`, else those of a list or an object under `caption`, else the text's lines,
    else the one `caption`. The first is the text's first line; without a text it is the first of `caption`, then of
    `captions`. A text that the json gives as its one `caption` too is one caption, whatever lines it has: img2dataset
    writes captions so.

    Args:
        field: the name that stands for `caption`.
    """
    own, listed = fields.get(field or "caption"), fields.get("captions")
    given, several = _texts(own), _texts(listed)
    whole = clean_text(text) if text is not None else ""
    is_one = isinstance(own, str) and given == (whole,)
    lines = given if is_one else tuple(line for line in _LINE_ENDS.split(whole) if line.strip())
    first = next(iter(lines or given or several), "")
    everything = several or (given if not isinstance(own, str) else ()) or lines or given
    if everything:
        return Captions(first, everything)
    present = [value for value in (text, own, listed) if value is not None]
    blank = any(isinstance(value, str) for value in present)
    unread = any(value and not isinstance(value, str) for value in present)
    return Captions("", (), unread=unread, blank=blank)


def _texts(value: object) -> tuple[str, ...]:
    """The texts that are not blank: of one text, a list or an object."""
    if isinstance(value, str):
        entries = [value]
    elif isinstance(value, list):
        entries = [entry for entry in value if isinstance(entry, str)]
    elif isinstance(value, dict):
        entries = [entry for entry in value.values() if isinstance(entry, str)]
    else:
        return ()
    return tuple(clean for entry in entries if (clean := _valid(entry)).strip())


def _valid(text: str) -> str:
    """`clean_text` of a caption; TextRejected when it holds half a surrogate pair, which no encoding can store."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextRejected("caption_not_utf8") from error
    return clean_text(text)


@dataclass(frozen=True, slots=True)
class CaptionReader:
    """The options of `Reading` that concern captions, ready for use."""

    pattern: CaptionPattern | None
    allow_empty: bool
    field: str | None
    encoding: str | None

    @classmethod
    def of(cls, reading: Reading) -> CaptionReader:
        """The reader that the options make."""
        pattern = None if reading.caption_pattern is None else parse_caption_pattern(reading.caption_pattern)
        return cls(pattern, reading.allow_empty_caption, reading.caption_field, reading.caption_encoding)

    def read(self, stem: str, text: bytes | None, fields: Mapping[str, Any]) -> tuple[Captions, dict[str, str]]:
        """The captions of an image, and the pattern's other fields.

        Args:
            stem: what the pattern is matched against: a path without its extension.

        Raises:
            TextRejected: there is no caption, or it cannot be used.
        """
        if self.pattern is not None:
            named = self.pattern.match(stem)
            if named is None:
                raise TextRejected("pattern_mismatch")
            caption = clean_text(named.pop("caption"))
            if "\ufffd" in caption:
                raise TextRejected("caption_not_utf8")
            return Captions(caption, (caption,)), named
        found = find_captions(None if text is None else decode_text(text, self.encoding), fields, self.field)
        if not found.all and (found.unread or not self.allow_empty):
            raise TextRejected(
                "caption_not_text" if found.unread else "empty_caption" if found.blank else "missing_caption"
            )
        return found, {}
