"""The cache of answers: by what was asked of which model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.annotate.answer_cache import AnswerCache
from mining.chat.chat import ChatReply, ChatRequest
from mining.sets.annotation import Turn

ASKED = ChatRequest((Turn("user", (0, "What is this?")),), (b"one image",), 16)
REPLY = ChatReply("A \ud800 bus, \U0001f68c.", "stop", 12, None)


def test_an_answer_is_found_again_by_the_same_request_of_the_same_model(tmp_path: Path) -> None:
    with AnswerCache(tmp_path, {"model": "a"}) as cache:
        assert cache.get(cache.key(ASKED)) is None
        cache.put(cache.key(ASKED), REPLY)
        assert cache.get(cache.key(ASKED)) == REPLY
    again = AnswerCache(tmp_path, {"model": "a"})
    assert again.get(again.key(ASKED)) == REPLY
    assert len(again) == 1
    others = [
        replace(ASKED, images=(b"another image",)),
        replace(ASKED, turns=(Turn("user", ("What is that?", 0)),)),
        replace(ASKED, max_new_tokens=17),
        replace(ASKED, temperature=0.5),
        replace(ASKED, seed=1),
    ]
    assert all(again.get(again.key(other)) is None for other in others)
    other = AnswerCache(tmp_path, {"model": "b"})
    assert other.get(other.key(ASKED)) is None


def test_refusals_and_failures_are_not_kept(tmp_path: Path) -> None:
    with AnswerCache(tmp_path, {}) as cache:
        cache.put(cache.key(ASKED), ChatReply("", "failed", error="down"))
        cache.put(cache.key(ASKED), ChatReply("No.", "refused", error="filter"))
        assert len(cache) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_was_cut_short_or_damaged_is_no_answer(tmp_path: Path) -> None:
    with AnswerCache(tmp_path, {}) as cache:
        key = cache.key(ASKED)
        cache.put(key, REPLY)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert len(AnswerCache(tmp_path, {})) == 0
    for damaged in (whole.replace(b'"finish"', b'"finish'), whole.replace(b'"stop"', b'"end!"'), b"\0" * 50 + b"\n"):
        path.write_bytes(damaged)
        assert AnswerCache(tmp_path, {}).get(key) is None
    path.write_bytes(b'{"key": "no hash at all"}\n' + whole)
    assert AnswerCache(tmp_path, {}).get(key) == REPLY


def test_two_runs_write_into_one_folder_at_once(tmp_path: Path) -> None:
    other = replace(ASKED, seed=3)
    with AnswerCache(tmp_path, {}) as one, AnswerCache(tmp_path, {}) as two:
        one.put(one.key(ASKED), REPLY)
        two.put(two.key(other), REPLY)
    assert len(AnswerCache(tmp_path, {})) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(BadInput, match="is a file; --cache names a folder"):
        AnswerCache(tmp_path / "cache", {})
