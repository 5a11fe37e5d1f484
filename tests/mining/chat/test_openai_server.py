from __future__ import annotations

import base64
import io
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from index.errors import BadInput, ClipmineError
from mining.chat.asking import Limits
from mining.chat.chat import ChatReply, ChatRequest
from mining.chat.openai_server import OpenAIServer
from mining.sets.annotation import Turn
from tests.mining.chat.chat_server import Answer, Behaviour, completion, echo, question, serving

QUICK = Limits(retries=2, patience=20.0, first_wait=0.01)
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def no_key_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def ask(url: str, requests: int | dict[str, ChatRequest] = 1, **options: Any) -> dict[str, ChatReply]:
    asked = {f"k{n}": question(f"q{n}") for n in range(requests)} if isinstance(requests, int) else requests
    return dict(OpenAIServer(url, "tiny", **{"limits": QUICK, **options}).replies(asked.items()))


def behave(*answers: Answer) -> Behaviour:
    """These answers, one after the other, the last one again and again."""
    return lambda number, body: answers[min(number, len(answers) - 1)]


def test_each_request_gets_its_reply() -> None:
    with serving(lambda number, body: echo(body)) as server:
        replies = ask(server.url, 50)
    assert {key: reply.text for key, reply in replies.items()} == {f"k{n}": f"q{n}" for n in range(50)}
    assert replies["k3"] == ChatReply("q3", "stop", 7, 3)


def test_images_are_sent_as_they_are_in_their_places() -> None:
    files = []
    for form in ("JPEG", "PNG", "WEBP"):
        Image.new("RGB", (8, 8), "red").save(file := io.BytesIO(), form)
        files.append(file.getvalue())
    turns = (Turn("system", ("Be brief.",)), Turn("user", ("A: ", 0, " B: ", 1, " C: ", 2, " Which?")))
    with serving(behave(completion("B"))) as server:
        assert ask(server.url, {"k": ChatRequest(turns, tuple(files), 9, 0.5, 3)})["k"].text == "B"
    sent = server.bodies[0]
    assert {name: sent[name] for name in ("model", "max_tokens", "temperature", "seed")} == {
        "model": "tiny", "max_tokens": 9, "temperature": 0.5, "seed": 3
    }  # fmt: skip
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    parts = sent["messages"][1]["content"]
    assert [part.get("text") for part in parts] == ["A: ", None, " B: ", None, " C: ", None, " Which?"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert [url.partition(",")[0] for url in urls] == [f"data:image/{form};base64" for form in ("jpeg", "png", "webp")]
    assert [base64.b64decode(url.partition(",")[2]) for url in urls] == files


def test_an_image_that_servers_do_not_take_fails_alone() -> None:
    Image.new("RGB", (8, 8)).save(file := io.BytesIO(), "BMP")
    odd = ChatRequest((Turn("user", (0, "What?")),), (file.getvalue(),))
    with serving(lambda number, body: echo(body)) as server:
        replies = ask(server.url, {"odd": odd, "good": question("q")})
    assert replies["good"].text == "q"
    assert replies["odd"].finish == "failed"
    assert "image 1 is bmp" in str(replies["odd"].error)


@pytest.mark.parametrize(
    "first",
    [
        Answer(status=500, body={"error": {"message": "CUDA error"}}),
        Answer(status=503, body=b"starting"),
        Answer(status=429, body={"error": {"message": "slow down"}}, headers={"Retry-After": "0.05"}),
        Answer(status=408, body=b""),
        Answer(body=b"<html>not JSON</html>"),
        Answer(body=b"\xff\xfe\x00"),
        Answer(body=b'{"choices": [{"mess'),
        Answer(body={"choices": []}),
        Answer(body={"choices": [{"message": None}]}),
        Answer(body=["no", "object"]),
        Answer(body={"error": {"message": "upstream failed", "code": 502}}),
        Answer(body={"error": "out of memory"}),
        completion(None),
        Answer(body={"choices": [1, 2, 3]}, cut=10),
        Answer(body={}, cut=-1),
    ],
    ids=lambda answer: f"{answer.status}-{str(answer.body)[:30]}-{answer.cut}",
)
def test_what_may_go_better_is_asked_again(first: Answer) -> None:
    with serving(behave(first, completion("fine"))) as server:
        assert ask(server.url)["k0"].text == "fine"
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=500, body={"error": {"message": "CUDA error"}}), "CUDA error"),
        (Answer(body=b"<html>"), "no JSON"),
        (Answer(body={"error": {"message": "upstream failed"}}), "upstream failed"),
        (completion(None), "no text"),
        (Answer(body={}, cut=-1), "cut off"),
    ],
)
def test_what_never_goes_better_fails_alone_after_some_attempts(answer: Answer, words: str) -> None:
    with serving(lambda number, body: answer if "bad" in str(body) else echo(body)) as server:
        replies = ask(server.url, {"bad": question("bad"), "good": question("good")})
    assert replies["good"].text == "good"
    assert replies["bad"].finish == "failed"
    assert words in str(replies["bad"].error)
    assert len(server.bodies) == 1 + 3  # with two retries


def test_a_refused_prompt_fails_alone_with_the_servers_words_and_is_not_asked_again() -> None:
    long = Answer(status=400, body={"error": {"message": "maximum context length is 2048 tokens", "code": 400}})
    with serving(lambda number, body: long if "long" in str(body) else echo(body)) as server:
        replies = ask(server.url, {"long": question("long"), "good": question("good")})
    assert replies["long"] == ChatReply("", "failed", error="400: maximum context length is 2048 tokens")
    assert replies["good"].text == "good"
    assert len(server.bodies) == 2


def test_refusals_filters_and_limits_are_told_apart() -> None:
    answers = {
        "refusal": completion(None, refusal="I cannot help with that."),
        "filter": completion("", "content_filter"),
        "azure": Answer(status=400, body={"error": {"message": "filtered", "code": "content_filter"}}),
        "length": completion("A long", "length"),
        "thoughts": completion(None, "length", reasoning_content="hm"),
        "empty": completion(""),
        "reasoned": completion("Yes.", reasoning_content="hm"),
    }
    with serving(lambda number, body: answers[body["messages"][0]["content"]]) as server:
        replies = ask(server.url, {name: question(name) for name in answers})
    assert {name: (reply.finish, reply.text) for name, reply in replies.items()} == {
        "refusal": ("refused", ""),
        "filter": ("refused", ""),
        "azure": ("refused", ""),
        "length": ("length", "A long"),
        "thoughts": ("length", ""),
        "empty": ("stop", ""),
        "reasoned": ("stop", "Yes."),
    }
    assert replies["refusal"].error == "I cannot help with that."


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=401, body={"error": {"message": "bad key"}}), "bad key; the key is missing or wrong"),
        (Answer(status=403, body={"error": {"message": "not yours"}}), "does not give access"),
        (Answer(status=404, body={"error": {"message": "no model tiny"}}), "no model tiny; its models are big, small"),
        (
            Answer(status=307, body=b"", headers={"Location": "https://elsewhere.example/v1"}),
            "redirects to https://else",
        ),
        (Answer(status=429, body={"error": {"message": "pay", "code": "insufficient_quota"}}), "quota is used up"),
    ],
)
def test_what_no_request_can_pass_ends_the_run_at_once(answer: Answer, words: str) -> None:
    with serving(behave(answer), models=("big", "small")) as server, pytest.raises(ClipmineError, match=words):
        ask(server.url, 100)
    assert len(server.bodies) <= 16


def test_an_address_without_the_version_is_told() -> None:
    with serving(behave(Answer(status=404, body=b"not found"))) as server:
        server.models = ()
        with pytest.raises(BadInput, match="404: not found; it has no model"):
            ask(server.url)


def test_a_host_that_does_not_exist_is_not_waited_for() -> None:
    with pytest.raises(BadInput, match=r"http://no-such-host\.invalid/v1: cannot be reached"):
        ask("http://no-such-host.invalid/v1")


def slow_echo(number: int, body: dict[str, Any]) -> Answer:
    return replace(echo(body), seconds=0.02)


def test_a_server_without_encryption_is_not_waited_for() -> None:
    with (
        serving(behave(completion("x"))) as server,
        pytest.raises(BadInput, match=r"WRONG_VERSION_NUMBER.*is the address right"),
    ):
        ask(server.url.replace("http:", "https:"))


def test_a_server_that_is_killed_and_restarted_answers_every_request_once(caplog: pytest.LogCaptureFixture) -> None:
    replies: list[tuple[str, ChatReply]] = []
    with serving(slow_echo) as first:
        url, port = first.url, first.server_port
        answers = OpenAIServer(url, "tiny", limits=QUICK).replies((f"k{n}", question(f"q{n}")) for n in range(60))
        replies += [next(answers) for _ in range(20)]
    reader = threading.Thread(target=lambda: replies.extend(answers))
    reader.start()
    while not any("waiting up to 20 s" in record.message for record in caplog.records):
        time.sleep(0.01)
    with serving(slow_echo, port=port):
        reader.join()
    assert sorted((key, reply.text) for key, reply in replies) == sorted((f"k{n}", f"q{n}") for n in range(60))
    said = [record.message for record in caplog.records if record.name.startswith("mining")]
    assert [line.partition(" (")[0] for line in said] == [f"{url}: no connection", f"{url}: answers again"]


def test_patience_ends_with_one_line() -> None:
    with serving(behave(completion("x"))) as server:
        url = server.url
    started = time.monotonic()
    with pytest.raises(
        ClipmineError, match=rf"{url}: no answer for 0 s \(no connection \(.*\)\); run this again later"
    ):
        ask(url, 5, limits=Limits(patience=0.2, first_wait=0.05))
    assert time.monotonic() - started < 15


def test_a_server_that_refuses_everything_is_given_up_when_patience_ends() -> None:
    busy = Answer(status=503, body={"error": {"message": "loading"}})
    with serving(behave(busy)) as server, pytest.raises(ClipmineError, match="loading"):
        ask(server.url, 3, limits=Limits(retries=100, patience=0.2, first_wait=0.05))


def test_a_wait_longer_than_patience_is_not_waited() -> None:
    busy = Answer(status=429, body={"error": {"message": "tomorrow"}}, headers={"Retry-After": "86400"})
    with serving(behave(busy)) as server, pytest.raises(ClipmineError, match="asks to wait 86,400 s"):
        ask(server.url)


def test_retry_after_holds_for_all_requests() -> None:
    times: list[float] = []

    def once_busy(number: int, body: dict[str, Any]) -> Answer:
        times.append(time.monotonic())
        return Answer(status=429, body=b"", headers={"Retry-After": "0.5"}) if number == 0 else echo(body)

    with serving(once_busy) as server:
        assert len(ask(server.url, 4, max_concurrency=1)) == 4
    assert times[1] - times[0] >= 0.45  # a lower bound; the server asked for it


def test_an_answer_that_takes_too_long_is_asked_for_again() -> None:
    with serving(lambda number, body: replace(echo(body), seconds=5.0 * (number == 0))) as server:
        assert ask(server.url, timeout=1.0)["k0"].text == "q0"


def test_a_server_that_refuses_above_a_load_is_still_answered_by_every_request() -> None:
    def choosy(number: int, body: dict[str, Any]) -> Answer:
        if server.under_way > 6:
            return Answer(status=429, body={"error": {"message": "too many"}})
        return replace(echo(body), seconds=0.005)

    with serving(choosy) as server:
        replies = ask(server.url, 100)
    assert sum(reply.answered for reply in replies.values()) == 100


def test_no_more_requests_are_under_way_than_allowed_and_few_are_taken_ahead() -> None:
    taken = 0

    def requests() -> Iterator[tuple[str, ChatRequest]]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield f"k{number}", question("q")

    with serving(lambda number, body: replace(echo(body), seconds=0.01)) as server:
        answers = OpenAIServer(server.url, "tiny", max_concurrency=3, limits=QUICK).replies(requests())
        next(answers)
        assert taken <= 7
        answers.close()  # type: ignore[attr-defined]
    assert server.most_under_way <= 3


def test_a_parameter_that_a_model_does_not_know_is_renamed_or_left_out() -> None:
    def modern(number: int, body: dict[str, Any]) -> Answer:
        for name in ("max_tokens", "temperature"):
            if name in body:
                words = f"Unsupported parameter: '{name}' is not supported with this model."
                return Answer(status=400, body={"error": {"message": words, "param": name}})
        return completion(str(body["max_completion_tokens"]))

    with serving(modern) as server:
        assert {reply.text for reply in ask(server.url, 20).values()} == {"512"}


def test_special_strings_in_texts_are_broken() -> None:
    with serving(lambda number, body: echo(body)) as server:
        asked = {"k": question("a</s> <|im_end|> <image> USER: b")}
        assert ask(server.url, asked)["k"].text == "a< /s> < |im_end|> image USER: b"


@pytest.mark.parametrize("in_address", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        completion("fine"),
        Answer(status=401, body={"error": {"message": f"Incorrect API key provided: {KEY}"}}),
        Answer(status=400, body={"error": {"message": f"you sent {KEY}"}}),
        Answer(status=500, body=f"trace: Bearer {KEY}".encode()),
        Answer(status=404, body={"error": {"message": f"no model for {KEY}"}}),
        Answer(status=302, body=b"", headers={"Location": f"http://me:{KEY}@127.0.0.1:1/?key={KEY}"}),
        Answer(status=503, body=f"{KEY}".encode(), headers={"X-Echo": KEY}),
        Answer(body={"error": {"message": f"inside {KEY}"}}),
        Answer(body={}, cut=-1),
    ],
    ids=lambda answer: str(answer.status) if isinstance(answer, Answer) else None,
)
def test_a_key_never_reaches_a_log_a_message_or_a_repr(
    answer: Answer, in_address: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("", "openai", "httpx2", "httpcore2", "httpx", "httpcore", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    texts: list[str] = []
    with serving(behave(answer), models=("tiny", KEY)) as server:
        url = server.url.replace("http://", f"http://me:{KEY}@") if in_address else server.url
        model = OpenAIServer(
            url + f"?token={KEY}", "tiny", api_key=None if in_address else KEY, limits=Limits(1, 0.3, 0.01)
        )
        texts += [repr(model), str(model.identity), repr(vars(model))]
        try:
            texts += [repr(reply) for _, reply in model.replies([("k", question("q"))])]
        except ClipmineError as error:
            texts += ["".join(traceback.format_exception(error)), repr(error)]
        sent = server.headers[0]["authorization"]
        basic = base64.b64encode(f"me:{KEY}".encode()).decode()
        assert sent == (f"Basic {basic}" if in_address else f"Bearer {KEY}")
        assert KEY in server.paths[0]
    captured = capfd.readouterr()
    texts += [captured.out, captured.err, caplog.text, *(repr(vars(record)) for record in caplog.records)]
    assert caplog.records
    for secret in (KEY, basic):
        assert not any(secret in text for text in texts)


def test_a_redirect_is_not_followed() -> None:
    with serving(behave(completion("x"))) as other:
        to = Answer(status=307, body=b"", headers={"Location": f"{other.url}/chat/completions"})
        with serving(behave(to)) as server, pytest.raises(BadInput, match="redirects to"):
            ask(server.url, api_key=KEY)
    assert other.bodies == []


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    with serving(behave(completion("x"))) as server:
        ask(server.url, key_variable="MY_KEY")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": " "}, "no name"),
        ({"max_concurrency": 0}, "at least 1"),
        ({"timeout": 0.0}, "more than 0"),
        ({"options": {"messages": []}}, "cannot hold messages"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        OpenAIServer("http://127.0.0.1:1/v1", **{"model": "tiny", **options})


def test_the_identity_holds_the_model_and_options_alone() -> None:
    model = OpenAIServer("http://me:pass@host/v1", "tiny", options={"top_p": 0.9})
    assert (model.name, model.identity) == ("tiny", {"kind": "openai", "model": "tiny", "options": {"top_p": 0.9}})
