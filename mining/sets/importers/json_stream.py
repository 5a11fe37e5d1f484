"""Long JSON files piece by piece: the elements of a list, or the entries of an object, one at a time.

A list of 665,000 conversations is a gigabyte of text and several as Python objects. Here one element and two chunks of
text are in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from index.errors import BadInput
from index.files import read_bytes

__all__ = ["REPEATED", "JsonStream", "RepeatedKey", "Unread", "load_json", "read_json"]

_CHUNK = 1 << 20  # characters
# An element longer than this is no record and no image: 64 MiB of image bytes are 90 million characters of base64.
_LONGEST = 128 << 20
_SPACE = " \t\r\n"
# How far from the end of what was read a syntax error may still come from a value that was cut there.
_NEAR_END = 16
# Why a record is not read in which an object has a key twice: one of the values would be lost.
REPEATED = "a key comes twice in an object"


@dataclass(frozen=True)
class Unread:
    """A record that could not be read, and why."""

    reason: str
    detail: str


class RepeatedKey(ValueError):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r:.80} comes twice in an object")
        self.key = key


def load_json(text: str) -> Any:
    """json.loads, with null for the NaN and Infinity that JSON lacks.

    Raises ValueError, RepeatedKey for an object that has a key twice, RecursionError for what is nested too deeply.
    """
    return json.loads(text, parse_constant=lambda name: None, object_pairs_hook=_object)


def read_json(path: str) -> Any:
    """The JSON of a whole file, as `load_json` reads it. Raises BadInput where it is broken or not UTF-8."""
    try:
        return load_json(read_bytes(path).decode("utf-8-sig"))
    except RecursionError as error:
        raise BadInput(f"{path}: broken JSON (it is nested too deeply); mend the file") from error
    except ValueError as error:
        raise BadInput(f"{path}: broken JSON ({_said(error)}); mend the file or download it again") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RepeatedKey(_repeated(pairs))
    return found


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    """The first key that comes again."""
    seen = set[str]()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _said(error: ValueError) -> str:
    """What is wrong. Python says of a long number how its own limit is raised, which is no help here."""
    return "a number of thousands of digits" if "integer string conversion" in str(error) else str(error)


class JsonStream:
    """Reads JSON from a text stream. name: of the file, for errors."""

    def __init__(self, stream: IO[str], name: str) -> None:
        self._stream, self._name = stream, name
        self._decoder = json.JSONDecoder(parse_constant=lambda name: None, object_pairs_hook=self._object)
        self._repeated: str | None = None  # a key that came twice in the value that was read last
        self._text, self._place, self._lines, self._ended = "", 0, 1, False
        if self._peek() == "\ufeff":
            self._place += 1

    def first(self) -> str:
        """The first character that is no white space, "" for an empty file."""
        return self._peek()

    def elements(self) -> Iterator[Any]:
        """The elements of the list that the file holds; an Unread for one in which an object has a key twice.

        Raises BadInput with the line where the list is broken.
        """
        self._expect("[")
        if self._take("]"):
            self._end()
            return
        while True:
            value = self._value()
            yield value if self._repeated is None else Unread(REPEATED, f"{self._line()}: {self._repeated!r:.80}")
            if self._take("]"):
                self._end()
                return
            self._expect(",")

    def entries(self) -> Iterator[tuple[str, Any]]:
        """The (key, value) of the object that the file holds. Raises BadInput with the line where it is broken."""
        self._expect("{")
        if self._take("}"):
            self._end()
            return
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise self._broken("an object's key must be a text")
            self._expect(":")
            yield key, self._value()
            if self._take("}"):
                self._end()
                return
            self._expect(",")

    def _value(self) -> Any:
        self._peek()
        while True:
            self._repeated = None
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
                # A number that ends with the text may go on in the next chunk.
                if end < len(self._text) or self._ended:
                    self._place = end
                    return value
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _NEAR_END
                if self._ended or not cut:
                    self._place = min(error.pos, len(self._text))
                    raise self._broken(error.msg) from error
            except ValueError as error:
                raise self._broken(_said(error)) from error
            except RecursionError as error:
                raise self._broken("is nested too deeply") from error
            if len(self._text) - self._place > _LONGEST:
                raise self._broken("a record is longer than 128 million characters")
            self._more()

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self._repeated = _repeated(pairs)
        return found

    def _peek(self) -> str:
        while True:
            while self._place < len(self._text) and self._text[self._place] in _SPACE:
                self._place += 1
            if self._place < len(self._text):
                return self._text[self._place]
            if self._ended:
                return ""
            self._more()

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._place += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._take(character):
            found = self._peek()
            raise self._broken(f"expected {character!r}, found {found!r}" if found else "the file ends early")

    def _end(self) -> None:
        if self._peek():
            raise self._broken("something follows the end of the JSON value")

    def _more(self) -> None:
        """Drop what was used and read as much again as is still there, so that long values take few attempts."""
        self._lines += self._text.count("\n", 0, self._place)
        rest = self._text[self._place :]
        try:
            chunk = self._stream.read(max(_CHUNK, len(rest)))
        except UnicodeDecodeError as error:
            raise self._broken(f"is not UTF-8 ({error.reason})") from error
        self._ended = not chunk
        self._text, self._place = rest + chunk, 0

    def _broken(self, what: str) -> BadInput:
        return BadInput(f"{self._name}: broken JSON at {self._line()}: {what}; mend the file or download it again")

    def _line(self) -> str:
        return f"line {self._lines + self._text.count(chr(10), 0, self._place)}"
