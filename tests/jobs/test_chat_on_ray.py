"""A chat model in Ray's actors: the replies of one model, whatever the number of actors, and when one dies."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from jobs.annotate_job import run_annotate
from jobs.chat_on_ray import ChatOnRay
from mining.annotate.config import AnnotateConfig
from mining.chat.chat import ChatReply, ChatRequest
from mining.sets.annotation import Turn
from mining.sets.image_sets import ImageSets
from tests.mining.annotate.asking import adds_up
from tests.mining.made_sets import write_foreign_sets
from tests.mining.tiny_llava import tiny_processor

pytestmark = pytest.mark.usefixtures("ray_up")


@dataclass
class Counting:
    """Answers with its process and the question; ends its process at a question, as long as `deaths` has lines."""

    deaths: str = ""
    name: str = "counting"
    identity: Mapping[str, Any] = field(default_factory=lambda: {"model": "counting"})

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        for key, request in requests:
            text = request.turns[-1].text
            if text == "die" and (left := Path(self.deaths).read_bytes()):
                Path(self.deaths).write_bytes(left[1:])
                os.kill(os.getpid(), signal.SIGKILL)
            yield key, ChatReply(f"{text} by {os.getpid()}", "stop")


def refused() -> Counting:
    raise BadInput("there is no such checkpoint")


def questions(*texts: str) -> list[tuple[str, ChatRequest]]:
    return [(f"key-{place}", ChatRequest((Turn("user", (text,)),))) for place, text in enumerate(texts)]


def test_each_request_has_one_reply_and_actors_share_them() -> None:
    model = ChatOnRay(Counting, workers=2, batch=2)
    assert (model.name, model.identity) == ("counting", {"model": "counting"})
    asked = questions(*map(str, range(20)))
    found = dict(model.replies(iter(asked)))
    assert {key: reply.text.split()[0] for key, reply in found.items()} == {f"key-{n}": str(n) for n in range(20)}
    assert len({reply.text.split()[-1] for reply in found.values()}) == 2
    assert list(model.replies([])) == []
    model.close()


@pytest.mark.parametrize(("deaths", "finish"), [(2, "stop"), (3, "failed")])
def test_requests_of_an_actor_that_dies_are_asked_again_and_fail_at_the_third_death(
    tmp_path: Path, deaths: int, finish: str
) -> None:
    path = tmp_path / "deaths"
    path.write_bytes(b"x" * deaths)
    model = ChatOnRay(functools.partial(Counting, str(path)), workers=1, batch=1)
    found = dict(model.replies(questions("one", "die", "three")))
    model.close()
    assert found["key-1"].finish == finish
    assert {found[key].finish for key in ("key-0", "key-2")} <= {"stop", finish}
    assert len(found) == 3


def test_an_error_of_the_model_is_raised_here_and_numbers_are_checked() -> None:
    with pytest.raises(BadInput, match="there is no such checkpoint"):
        ChatOnRay(refused)
    with pytest.raises(BadInput, match="--workers must be at least 1"):
        ChatOnRay(Counting, workers=0)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights with a context that takes the prompts."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "llama"
    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    config = LlamaConfig(
        **shape, num_attention_heads=2, vocab_size=260, max_position_embeddings=8192, bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer = tiny_processor().tokenizer
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] + '\n' }}{% endfor %}"
    tokenizer.save_pretrained(str(folder))
    return folder


def test_a_checkpoint_annotates_the_same_here_and_in_two_actors(tmp_path: Path, llama: Path) -> None:
    pairs = write_foreign_sets(tmp_path, [[f"{number}.jpg", f"{number + 1}.jpg"] for number in range(6)])
    asked: dict[str, Any] = {"annotator": "transformers", "model": str(llama), "device": "cpu", "max_new_tokens": 8}
    here = run_annotate(AnnotateConfig.of(pairs.path, name="here", attempts=1, **asked))
    there = run_annotate(
        AnnotateConfig.of(pairs.path, name="there", attempts=1, cache=str(tmp_path / "answers"), **asked),
        executor="ray",
        workers=2,
    )
    for summary in (here, there):
        assert (summary.sets, summary.rejected, summary.requests, summary.cached) == (6, 6, 6, 0)
        assert summary.new_tokens == 48
        assert adds_up(summary)
    found = [
        [said.annotation_id for said in each.annotations]
        for each in ImageSets.open(pairs.path).with_annotations(kind="rejected")
    ]
    assert [len(ids) for ids in found] == [1] * 6  # both runs gave the same annotations, which count once
