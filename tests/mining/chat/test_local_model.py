from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from index.errors import BadInput, ClipmineError
from mining.chat.chat import ChatReply, ChatRequest
from mining.chat.generation import Generated, Generator
from mining.chat.local_model import LocalModel
from mining.sets.annotation import Turn
from tests.mining.chat.conftest import image_file

WORDS = ["what", "is", "the", "left", "bus", "red", "blue", "and", "why", "does", "it", "stand", "on", "a", "road"]


def asked(images: bool, count: int = 16) -> dict[str, ChatRequest]:
    """Requests of many lengths, with 0 to 3 images each."""
    made = {}
    for number in range(count):
        draw = random.Random(number)
        shown = draw.randrange(4) if images else 0
        text = " ".join(draw.choices(WORDS, k=draw.randrange(1, 30)))
        files = tuple(image_file(draw.randrange(12), draw.randrange(20, 60), 28) for _ in range(shown))
        made[f"k{number}"] = ChatRequest((Turn("user", (*range(shown), text)),), files, max_new_tokens=6)
    return made


@pytest.mark.parametrize("kind", ["llama", "llava"])
def test_an_answer_does_not_depend_on_its_batch(kind: str, request: pytest.FixtureRequest) -> None:
    model = LocalModel(str(request.getfixturevalue(f"{kind}_folder")), device="cpu", batch_size=4)
    requests = asked(images=kind == "llava")
    together = dict(model.replies(requests.items()))
    assert together.keys() == requests.keys()
    assert all(reply.answered for reply in together.values())
    assert len({reply.text for reply in together.values()}) > 1
    one_by_one = {key: next(model.replies([(key, each)]))[1] for key, each in requests.items()}
    assert one_by_one == together
    shuffled = list(requests.items())
    random.Random(0).shuffle(shuffled)
    assert dict(model.replies(shuffled[:11])) == {key: together[key] for key, _ in shuffled[:11]}


def test_failed_requests_leave_the_others_alone(llava_folder: Path) -> None:
    broken = ChatRequest((Turn("user", (0, "What?")),), (b"no image",))
    requests = {"broken": broken, **asked(images=True, count=3)}
    replies = dict(LocalModel(str(llava_folder), device="cpu").replies(requests.items()))
    assert replies["broken"].error == "image 1 cannot be read (unknown_format)"
    assert sum(reply.answered for reply in replies.values()) == 3


def test_requests_are_taken_only_some_batches_ahead(llama_folder: Path) -> None:
    taken = 0

    def many() -> Iterator[tuple[str, ChatRequest]]:
        nonlocal taken
        for key, each in asked(images=False, count=40).items():
            taken += 1
            yield key, each

    replies = LocalModel(str(llama_folder), device="cpu", batch_size=2).replies(many())
    for answered in range(1, 8):
        next(replies)
        assert taken - answered <= 16
    replies.close()  # type: ignore[attr-defined]


def test_a_batch_shrinks_when_memory_runs_out(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requests, tried = asked(images=False, count=9), []
    expected = dict(LocalModel(str(llama_folder), device="cpu", batch_size=2).replies(requests.items()))
    generate = Generator.generate

    def small_memory(self: Generator, prompts: Any, rows: int) -> Any:
        tried.append(rows)
        if rows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return generate(self, prompts, rows)

    monkeypatch.setattr(Generator, "generate", small_memory)
    model = LocalModel(str(llama_folder), device="cpu", batch_size=8)
    assert dict(model.replies(requests.items())) == expected
    assert tried.count(8) == tried.count(4) == 1
    assert [record.message.partition("; ")[2] for record in caplog.records] == [
        "batches of 4 from now on", "batches of 2 from now on"
    ]  # fmt: skip


def test_a_prompt_for_which_memory_never_suffices_fails_alone(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = Generator.generate

    def small_memory(self: Generator, prompts: Any, rows: int) -> Any:
        if prompts[0].length > 100:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return generate(self, prompts, rows)

    monkeypatch.setattr(Generator, "generate", small_memory)
    long = ChatRequest((Turn("user", ("x" * 120,)),), max_new_tokens=5)
    requests = {"long": long, "short": ChatRequest((Turn("user", ("x",)),), max_new_tokens=5)}
    replies = dict(LocalModel(str(llama_folder), device="cpu").replies(requests.items()))
    assert replies["short"].answered
    assert replies["long"] == ChatReply("", "failed", error="memory runs out at 139 tokens")


def test_another_fault_ends_with_one_line(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: Any) -> Any:
        raise RuntimeError("device-side assert\ntriggered")

    monkeypatch.setattr(Generator, "generate", faulty)
    with pytest.raises(ClipmineError, match="cannot generate: device-side assert triggered"):
        list(LocalModel(str(llama_folder), device="cpu").replies(asked(False, 1).items()))


def test_a_tokenizer_of_a_larger_model_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    import shutil

    from transformers import AutoTokenizer

    folder = shutil.copytree(llama_folder, tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    tokenizer.add_tokens(["bus"])
    tokenizer.save_pretrained(str(folder))
    with pytest.raises(BadInput, match="its tokenizer has more tokens than its model"):
        list(LocalModel(str(folder), device="cpu").replies([("k", ChatRequest((Turn("user", ("a bus",)),)))]))


def test_the_plain_template_answers_with_one_line(llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalModel(str(llava_folder), device="cpu", template="plain")
    newline = model._checkpoint.tokenizer.encode("a\nb", add_special_tokens=False)
    monkeypatch.setattr(Generator, "generate", lambda *_: [Generated(newline)])
    request = ChatRequest((Turn("user", (0,)),), (image_file(1),))
    assert dict(model.replies([("k", request)]))["k"].text == "a"


def test_a_beam_search_does_not_draw(llama_folder: Path) -> None:
    model = LocalModel(str(llama_folder), device="cpu", num_beams=2)
    request = ChatRequest((Turn("user", ("a",)),), temperature=0.5)
    assert "draws nothing" in str(dict(model.replies([("k", request)]))["k"].error)


def test_the_identity_holds_what_decides_answers(llama_folder: Path, adapter_folder: Path) -> None:
    base = LocalModel(str(llama_folder), device="cpu", batch_size=3)
    assert base.identity == LocalModel(str(llama_folder), device="cpu", batch_size=5).identity
    others = [
        LocalModel(str(adapter_folder), device="cpu"),
        LocalModel(str(llama_folder), device="cpu", precision="bfloat16"),
        LocalModel(str(llama_folder), device="cpu", num_beams=5),
        LocalModel(str(llama_folder), device="cpu", template="vicuna_v1"),
    ]
    assert len({str(each.identity) for each in (base, *others)}) == 5
    assert others[0].name == f"{adapter_folder} + adapter"


@pytest.mark.parametrize(
    "options",
    [{"precision": "int8"}, {"batch_size": 0}, {"batch_size": 100_000}, {"num_beams": 0}, {"repetition_penalty": 0}],
)
def test_options_that_cannot_be_used_are_refused(llama_folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"precision|at least 1|100000 is more than 1,024"):
        LocalModel(str(llama_folder), device="cpu", **options)
