"""JSON read piece by piece gives what json.loads gives, wherever a chunk ends, and says what is broken."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from mining.sets.importers import json_stream
from mining.sets.importers.json_stream import REPEATED, JsonStream, RepeatedKey, Unread, load_json, read_json

VALUES = [{"a": 'x"y]},{', "b": [1, 2.5e3, -7]}, "two\nlines", 12345, None, True, [], {}, "ä\u2028"]


def stream(text: str) -> JsonStream:
    return JsonStream(io.StringIO(text), "made.json")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_is_read_element_by_element(monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    assert list(stream(" " + json.dumps(VALUES, indent=indent) + " \n").elements()) == VALUES


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_an_object_is_read_entry_by_entry(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    whole = {str(place): value for place, value in enumerate(VALUES)}
    assert dict(stream(json.dumps(whole)).entries()) == whole


def test_the_first_elements_come_before_the_file_is_read() -> None:
    class Endless(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            return "1, " * 1000 if self.tell() else self._start()

        def _start(self) -> str:
            self.seek(1)
            return "[" + "1, " * 1000

    elements = JsonStream(Endless(), "endless").elements()
    assert [next(elements) for _ in range(5000)] == [1] * 5000


@pytest.mark.parametrize("text", ["[]", "\ufeff[]", "  [ ]  "])
def test_an_empty_list_has_no_elements(text: str) -> None:
    assert list(stream(text).elements()) == []
    assert list(stream("{}").entries()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1},\n {"b": oops}]', "made.json: broken JSON at line 2"),
        ('[{"a": 1}\n {"b": 2}]', "line 2: expected ',', found '{'"),
        ('[{"a": 1},\n{"b": 2', "broken JSON at line 2"),
        ("[1, 2", "the file ends early"),
        ('["abc', "broken JSON at line 1"),
        ("[1] x", "something follows"),
        ("", "the file ends early"),
    ],
)
def test_a_broken_list_is_an_error_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        list(stream(text).elements())


def test_a_syntax_error_early_in_a_long_file_is_found_early() -> None:
    text = '[{"a": oops}, ' + '"x", ' * 1_000_000
    source = io.StringIO(text)
    with pytest.raises(BadInput, match="line 1"):
        list(JsonStream(source, "made.json").elements())
    assert source.tell() <= json_stream._CHUNK


def test_a_value_longer_than_any_record_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 16)
    monkeypatch.setattr(json_stream, "_LONGEST", 100)
    with pytest.raises(BadInput, match="longer than"):
        list(stream('["' + "x" * 1000 + '"]').elements())


def test_deep_nesting_is_an_error_of_one_line() -> None:
    with pytest.raises(BadInput, match=r"nested too deeply|broken JSON"):
        list(stream("[" * 200_000).elements())


def test_what_json_lacks_is_null() -> None:
    expected: Any = {"a": None, "b": [None]}
    assert load_json('{"a": NaN, "b": [Infinity]}') == expected
    assert list(stream('[{"a": NaN, "b": [-Infinity]}]').elements()) == [expected]


def test_a_whole_file_is_read_with_a_byte_order_mark_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "whole.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": NaN}')
    assert read_json(str(path)) == {"a": None}
    for broken in (b'{"a": ', b'"\xff"'):
        path.write_bytes(broken)
        with pytest.raises(BadInput, match=r"whole\.json: broken JSON"):
            read_json(str(path))


def test_a_key_that_comes_twice_loses_no_value_unsaid(tmp_path: Path) -> None:
    text = '[{"a": 1},\n{"b": [{"id": 1, "id": 2}]}, {"a": 3}]'
    assert list(JsonStream(io.StringIO(text), "f").elements()) == [
        {"a": 1},
        Unread(REPEATED, "line 2: 'id'"),
        {"a": 3},
    ]
    with pytest.raises(RepeatedKey):
        load_json('{"id": 1, "id": 1}')
    (tmp_path / "f.json").write_text('{"data": {"x": 1, "x": 2}}')
    with pytest.raises(BadInput, match="the key 'x' comes twice in an object"):
        read_json(str(tmp_path / "f.json"))


def test_long_numbers_and_deep_nesting_are_an_error_of_one_line(tmp_path: Path) -> None:
    for text, message in (("9" * 5000, "a number of thousands of digits"), ("[" * 100_000, "nested too deeply")):
        with pytest.raises(BadInput, match=message):
            list(JsonStream(io.StringIO(f"[{text}, 1]"), "f").elements())
        (tmp_path / "f.json").write_text(text)
        with pytest.raises(BadInput, match=message):
            read_json(str(tmp_path / "f.json"))
