from __future__ import annotations

import json
from email.utils import formatdate
from time import time

import pytest

from index.errors import BadInput
from mining.chat.outcomes import answer_outcome, status_outcome
from mining.chat.server_address import ServerAddress

ADDRESS = ServerAddress.parse("http://host/v1", "sk-secret")


def error(message: str, **fields: object) -> str:
    return json.dumps({"error": {"message": message, **fields}})


@pytest.mark.parametrize(
    ("status", "text", "do"),
    [
        (400, error("too long"), "reply"),
        (400, error("gone", code="model_not_found"), "missing"),
        (400, error("Unsupported parameter: 'seed'"), "change"),
        (401, "", "end"),
        (402, "", "end"),
        (403, "", "end"),
        (404, "", "missing"),
        (408, "", "again"),
        (413, "", "reply"),
        (422, "", "reply"),
        (429, "", "busy"),
        (429, error("pay", code="insufficient_quota"), "end"),
        (500, "", "again"),
        (502, "", "busy"),
        (503, "", "busy"),
        (302, "", "end"),
    ],
)
def test_a_status_says_what_follows(status: int, text: str, do: str) -> None:
    assert status_outcome(status, text, {}, ADDRESS).do == do


def test_an_error_inside_a_good_status_counts_by_its_code() -> None:
    assert answer_outcome(error("slow down", code=429), ADDRESS).do == "busy"
    assert answer_outcome(error("bad key", code=401), ADDRESS).do == "end"
    assert answer_outcome(error("odd", code="odd"), ADDRESS).do == "again"


def wait_for(header: str) -> float:
    return status_outcome(429, "", {"retry-after": header}, ADDRESS).wait


def test_retry_after_is_a_number_or_a_date() -> None:
    assert [wait_for(header) for header in ("3", "0.25", "", "soon", "-1")] == [3.0, 0.25, 0.0, 0.0, 0.0]
    in_a_day, yesterday = (formatdate(time() + days * 86_400, usegmt=True) for days in (1, -1))
    assert wait_for(in_a_day) == pytest.approx(86_400, abs=3_600)
    assert wait_for(yesterday) == 0.0


def test_no_words_of_the_server_show_the_key() -> None:
    for status in (302, 400, 401, 402, 403, 404, 429, 500):
        outcome = status_outcome(status, error("sk-secret"), {"location": "http://a/sk-secret"}, ADDRESS)
        assert "sk-secret" not in repr(outcome)
    assert isinstance(status_outcome(401, "", {}, ADDRESS).error, BadInput)


def test_a_key_that_the_servers_words_are_cut_at_is_hidden_whole() -> None:
    address = ServerAddress.parse("http://host/v1", "sk-secret-0123456789")
    long = "x" * 290 + " sk-secret-0123456789 is wrong"
    for text in (error(long), long, error({"why": long}), json.dumps({"error": long})):  # type: ignore[arg-type]
        for outcome in (status_outcome(401, text, {}, address), answer_outcome(text, address)):
            assert "sk-" not in repr(outcome)
    refusal = {"choices": [{"message": {"refusal": long}, "finish_reason": "stop"}]}
    assert "sk-" not in repr(answer_outcome(json.dumps(refusal), address))


def test_an_answer_that_repeats_the_key_is_kept_without_it() -> None:
    address = ServerAddress.parse("http://host/v1?version=cats", "sk-secret-0123456789")
    said = "You sent sk-secret-0123456789; see cats at http://me@host"
    reply = answer_outcome(json.dumps({"choices": [{"message": {"content": said}}]}), address).reply
    assert reply is not None
    assert reply.text == "You sent ***; see cats at http://me@host"


def test_what_is_nested_without_end_is_an_answer_to_ask_for_again() -> None:
    for text in ("[" * 100_000, '{"error": ' * 100_000):
        assert answer_outcome(text, ADDRESS).do == "again"
        assert status_outcome(500, text, {}, ADDRESS).do == "again"
