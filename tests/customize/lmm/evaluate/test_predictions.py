"""Kept replies: nothing is generated twice, another prompt is asked anew, a killed run goes on at the next question."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from customize.lmm.evaluate.predictions import Predictions
from index.errors import BadInput
from mining.chat.chat import ChatReply, ChatRequest
from mining.sets.annotation import Turn
from tests.customize.lmm.evaluate.conftest import KnownModel


def ask(text: str, images: tuple[bytes, ...] = ()) -> ChatRequest:
    return ChatRequest((Turn("user", (text,)),), images)


def test_replies_are_kept_and_not_generated_again(tmp_path: Path) -> None:
    model = KnownModel(lambda key, request: request.turns[0].text.upper())
    requests: list[tuple[str, ChatRequest | str]] = [("1", ask("a")), ("2", ask("b")), ("3", "image missing")]
    seen: list[None] = []
    first, kept = Predictions(tmp_path, "bison", model, {}).replies(requests, lambda: seen.append(None))
    assert first == {"1": ChatReply("A", "stop"), "2": ChatReply("B", "stop"), "3": "image missing"}
    assert (kept, model.asked, len(seen)) == (0, ["1", "2"], 3)
    again, kept = Predictions(tmp_path, "bison", model, {}).replies(requests)
    assert (again, kept, model.asked) == (first, 2, ["1", "2"])


def test_probabilities_of_answers_are_kept_too(tmp_path: Path) -> None:
    reply = ChatReply("A", "stop", 9, 1, answers={"A": -0.25, "B": -1.5})
    model = KnownModel(lambda key, request: reply)
    for _ in range(2):
        assert Predictions(tmp_path, "bison", model, {}).replies([("1", ask("a"))])[0] == {"1": reply}
    assert model.asked == ["1"]


def test_another_prompt_model_or_setting_is_asked_anew(tmp_path: Path) -> None:
    model = KnownModel(lambda key, request: "A")
    Predictions(tmp_path, "bison", model, {"max_new_tokens": 8}).replies([("1", ask("a", (b"1",)))])
    Predictions(tmp_path, "bison", model, {"max_new_tokens": 8}).replies([("1", ask("a", (b"2",)))])
    assert model.asked == ["1", "1"]
    Predictions(tmp_path, "bison", model, {"max_new_tokens": 9}).replies([("1", ask("a", (b"2",)))])
    assert model.asked == ["1"] * 3
    other = KnownModel(lambda key, request: "B", adapter="v2")
    assert (
        Predictions(tmp_path, "bison", other, {"max_new_tokens": 8}).path
        != Predictions(tmp_path, "bison", model, {"max_new_tokens": 8}).path
    )
    renamed = KnownModel(lambda key, request: "A")
    renamed.name = "another name of the same checkpoint"
    Predictions(tmp_path, "bison", renamed, {"max_new_tokens": 8}).replies([("1", ask("a", (b"2",)))])
    assert renamed.asked == []


def test_a_failure_is_written_down_and_asked_again(tmp_path: Path) -> None:
    replies = iter([ChatReply("", "failed", error="server down"), ChatReply("A", "length", 10, 1)])
    model = KnownModel(lambda key, request: next(replies))
    predictions = Predictions(tmp_path, "bison", model, {})
    assert predictions.replies([("1", ask("a"))])[0]["1"] == ChatReply("", "failed", error="server down")
    assert "server down" in predictions.path.read_text()
    found, _ = Predictions(tmp_path, "bison", model, {}).replies([("1", ask("a"))])
    assert found["1"] == ChatReply("A", "length", 10, 1)
    again, kept = Predictions(tmp_path, "bison", model, {}).replies([("1", ask("a"))])
    assert (again, kept) == (found, 1)


def test_a_reply_that_is_no_unicode_is_kept(tmp_path: Path) -> None:
    model = KnownModel(lambda key, request: "half \ud83d of a pair")
    Predictions(tmp_path, "x", model, {}).replies([("1", ask("a"))])
    assert Predictions(tmp_path, "x", model, {}).replies([("1", ask("a"))])[0]["1"] == ChatReply(
        "half \ud83d of a pair", "stop"
    )


def test_a_broken_line_is_named_and_one_cut_short_is_not_kept(tmp_path: Path) -> None:
    model = KnownModel(lambda key, request: "A")
    path = Predictions(tmp_path, "a task/with a name", model, {}).path
    assert path.name.startswith("a_task_with_a_name-")
    Predictions(tmp_path, "a task/with a name", model, {}).replies([("1", ask("a")), ("2", ask("b"))])
    whole = path.read_text()
    path.write_text(whole[:-10])
    assert Predictions(tmp_path, "a task/with a name", model, {}).replies([("1", ask("a")), ("2", ask("b"))])[1] == 1
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()[1:]] == ["1", "2"]
    path.write_text(whole.replace('"key": "1"', '"kex": "1"'))
    with pytest.raises(BadInput, match=r"line 2: is not a kept reply .*delete the line"):
        Predictions(tmp_path, "a task/with a name", model, {})


def test_a_killed_run_goes_on_at_the_next_question(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from customize.lmm.evaluate.predictions import Predictions
        from mining.chat.chat import ChatRequest
        from mining.sets.annotation import Turn
        from tests.customize.lmm.evaluate.conftest import KnownModel

        folder, wait = Path(sys.argv[1]), float(sys.argv[2])

        def answer(key, request):
            with (folder / "asked.txt").open("a") as log:
                log.write(key + "\\n")
            time.sleep(wait)
            return "A" + key

        requests = [(str(n), ChatRequest((Turn("user", (str(n),)),))) for n in range(12)]
        Predictions(folder, "bison", KnownModel(answer), {}).replies(requests)
        """)
    )
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(script), str(tmp_path)]
    killed = subprocess.Popen([*command, "0.05"], env=environment)
    asked = tmp_path / "asked.txt"
    while not asked.exists() or len(asked.read_text().splitlines()) < 4:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    subprocess.run([*command, "0"], env=environment, check=True)
    keys = asked.read_text().splitlines()
    # The question that was being answered is asked again; no other is, and none is lost.
    assert sorted(set(keys), key=int) == [str(number) for number in range(12)]
    assert len(keys) <= 13
    (path,) = tmp_path.glob("bison-*.jsonl")
    kept = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [(row["key"], row["reply"]) for row in kept] == [(str(number), f"A{number}") for number in range(12)]
