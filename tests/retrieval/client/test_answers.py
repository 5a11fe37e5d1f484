from __future__ import annotations

import socket

import pytest

from index.errors import BadInput, ClipmineError
from retrieval import Client
from retrieval.client.answers import LONGEST_WAIT, Attempts, ConceptReader, seconds
from tests.retrieval.client.fake_service import (
    BUSY,
    END,
    OK,
    START,
    WHOLE,
    Answer,
    answering,
    concept_line,
    lines,
    problem,
)


class TestRetries:
    def test_busy_and_not_ready_are_tried_again(self) -> None:
        with answering((429, BUSY, b"{}"), (503, BUSY, b"{}"), OK) as (url, asked), Client(url) as client:
            assert client.row(1) == {"row_id": 1}
            assert len(asked) == 3

    def test_the_last_attempt_says_what_the_service_said(self) -> None:
        with answering(problem(503, "a replica is being replaced")) as (url, asked), Client(url, retries=1) as client:
            with pytest.raises(ClipmineError, match=r"\(503\): a replica is being replaced"):
                client.row(1)
            assert len(asked) == 2

    @pytest.mark.parametrize(
        ("status", "kind"), [(400, BadInput), (404, BadInput), (422, BadInput), (500, ClipmineError)]
    )
    def test_other_errors_are_told_at_once(self, status: int, kind: type[ClipmineError]) -> None:
        with answering(problem(status, "so it is")) as (url, asked), Client(url) as client:
            with pytest.raises(kind, match=rf"so it is \({status}\)") as error:
                client.row(1)
            assert type(error.value) is kind
            assert len(asked) == 1

    def test_nobody_there_is_tried_again_and_then_told(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody can be reached there
            with Client(f"http://127.0.0.1:{taken.getsockname()[1]}", retries=1) as client:
                with pytest.raises(ClipmineError, match="cannot be reached") as error:
                    client.row(1)
                assert not isinstance(error.value, BadInput)

    def test_a_redirect_is_not_followed_with_the_token(self) -> None:
        with answering((307, {"Location": "http://elsewhere/"}, b"")) as (url, asked), Client(url, "secret") as client:
            with pytest.raises(BadInput, match="http://elsewhere/"):
                client.row(1)
            assert len(asked) == 1

    def test_what_is_no_clipmine_service_is_told(self) -> None:
        page: Answer = (200, {}, b"<html>hello</html>\n")
        with answering(page, page, (200, {}, b'{"results": 3}')) as (url, _), Client(url) as client:
            with pytest.raises(ClipmineError, match="not as a Clipmine service does"):
                client.row(1)
            with pytest.raises(ClipmineError, match="not as a Clipmine service does"):
                list(client.concepts(["dog"]))
            with pytest.raises(ClipmineError, match="not of the expected shape"):
                client.search(["a"])

    def test_waits_grow_with_jitter_and_heed_the_service_within_bounds(self) -> None:
        attempts = Attempts("http://host", retries=12)
        waits = [attempts.refused(503, {}, b"") for _ in range(12)]
        for number, wait in enumerate(waits):
            whole = min(LONGEST_WAIT, 0.25 * 2**number)
            assert whole / 2 <= wait <= whole
        assert Attempts("http://host", retries=1).refused(429, {"retry-after": "7"}, b"") == 7
        assert Attempts("http://host", retries=1).refused(429, {"retry-after": "86400"}, b"") == LONGEST_WAIT
        assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
        assert seconds("soon") == 0


class TestStream:
    @pytest.mark.parametrize("size", [1, 7, 4096])
    def test_lines_are_put_together_however_they_are_cut(self, size: int) -> None:
        reader = ConceptReader("http://host")
        chunks = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
        answers = [answer for chunk in chunks for answer in reader.feed(chunk)]
        reader.finish()
        assert [answer.name for answer in answers] == ["dog", "cat"]
        assert answers[1].rows[0].columns == {"caption": "a line\u2028and another\x85"}
        assert repr(answers[1]) == "ConceptAnswer('cat', 1 rows)"
        (row,) = answers[1].to_pandas().to_dict("records")
        assert (row["row_id"], row["prompt"], row["caption"]) == (3, "cat", "a line\u2028and another\x85")
        assert reader.summary.plans == {"t2i": "exact: few"}

    @pytest.mark.parametrize("body", [b"", lines(START), lines(START, concept_line("dog")), WHOLE[:-40]])
    def test_without_its_end_it_is_an_error_never_a_short_result(self, body: bytes) -> None:
        with answering((200, {}, body)) as (url, asked), Client(url) as client:
            with pytest.raises(ClipmineError, match="the stream was cut after"):
                list(client.concepts(["dog", "cat"]))
            assert len(asked) == 1

    def test_a_connection_that_breaks_is_an_error(self) -> None:
        body = lines(START, concept_line("dog"))
        with answering((200, {"Content-Length": "100000"}, body)) as (url, _), Client(url) as client:
            stream = client.concepts(["dog", "cat"])
            assert next(stream).name == "dog"
            with pytest.raises(ClipmineError, match="cut after 1 of 2 concepts"):
                next(stream)

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (lines(START, {"type": "error", "error": "the index is gone"}), "the index is gone"),
            (lines(START, {"type": "concept", "name": "dog"}), "not of the expected shape"),
            (lines(START, concept_line("dog"), END), "announced 2 concepts and 2 rows and sent 1 and 1"),
        ],
    )
    def test_what_goes_wrong_is_one_line(self, body: bytes, says: str) -> None:
        with answering((200, {}, body)) as (url, asked), Client(url) as client:
            with pytest.raises(ClipmineError, match=says):
                list(client.concepts(["dog", "cat"]))
            assert len(asked) == 1
