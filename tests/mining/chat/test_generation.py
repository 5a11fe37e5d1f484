from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mining.chat.chat import ChatRequest
from mining.chat.generation import Decoding, Generator
from mining.chat.local_checkpoint import load_weights, open_checkpoint, stop_ids
from mining.chat.prompts import Prompt, prompt_of
from mining.sets.annotation import Turn
from tests.mining.chat.conftest import image_file


@pytest.fixture(scope="module")
def llama(llama_folder: Path) -> Generator:
    return generator(llama_folder)


@pytest.fixture(scope="module")
def llava(llava_folder: Path) -> Generator:
    return generator(llava_folder)


def generator(folder: Path) -> Generator:
    checkpoint = open_checkpoint(str(folder), template=None if folder.name == "llama" else "vicuna_v1_no_system")
    model = load_weights(checkpoint, "cpu", "float32")
    return Generator(checkpoint, model, stop_ids(checkpoint, model), Decoding())


def prompts(made_by: Generator, texts: list[str], images: int = 0, **options: Any) -> list[Prompt]:
    found = []
    for number, text in enumerate(texts):
        files = tuple(image_file(10 * number + each) for each in range(images))
        turn = Turn("user", (*range(images), text))
        found.append(prompt_of(made_by.checkpoint, ChatRequest((turn,), files, **{"max_new_tokens": 12, **options})))
    assert all(isinstance(prompt, Prompt) for prompt in found)
    return found  # type: ignore[return-value]


def plain(made_by: Generator, prompt: Prompt, **options: Any) -> list[int]:
    """What transformers generates for the prompt alone, without padding."""
    inputs = {**prompt.inputs, "input_ids": prompt.ids[None], "attention_mask": torch.ones_like(prompt.ids)[None]}
    settings = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": 2, "pad_token_id": 2, **options}
    with torch.inference_mode():
        found = made_by.model.generate(**inputs, **settings)
    return made_by._cut(found[0, len(prompt.ids) :].tolist())


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3}, {"repetition_penalty": 1.5}, {"num_beams": 5, "repetition_penalty": 1.5}]
)
def test_padded_batches_give_what_transformers_gives_alone(llama: Generator, llava: Generator, options: Any) -> None:
    texts = ["Why?", "What is this, and why?", "a"]
    for each, images in ((llama, 0), (llava, 0), (llava, 2)):
        made = [replace(prompt, length=64) for prompt in prompts(each, texts, images)]
        batch = Generator(each.checkpoint, each.model, each.stops, Decoding(**options)).generate(made, 4)
        assert [made.ids for made in batch] == [plain(each, prompt, **options) for prompt in made]


def test_an_answer_ends_at_its_own_limit(llama: Generator) -> None:
    short, long = prompts(llama, ["Why?", "Why?"])
    found = llama.generate([replace(short, max_new_tokens=3), long], 2)
    assert [len(each.ids) for each in found] == [3, 12]


def test_an_answer_ends_at_a_stop(llama: Generator) -> None:
    made = prompts(llama, ["Why?"])
    whole = llama.generate(made, 1)[0].ids
    stopped = Generator(llama.checkpoint, llama.model, [whole[4]], llama.decoding).generate(made, 1)[0]
    assert stopped.ids == whole[: whole.index(whole[4]) + 1]


def test_a_draw_depends_on_its_seed_and_not_on_its_company(llama: Generator) -> None:
    made = [replace(each, seed=seed) for seed, each in enumerate(prompts(llama, ["Why?"] * 6, temperature=1.0))]
    together = llama.generate(made, 8)
    assert len({tuple(each.ids) for each in together}) == 6
    assert together == [llama.generate([each], 8)[0] for each in made]
    unseeded = prompts(llama, ["Why?"], temperature=1.0)
    assert llama.generate(unseeded, 1) != llama.generate(unseeded, 1)


def test_draws_follow_the_models_probabilities(llama: Generator) -> None:
    first = prompts(llama, ["Why?"], temperature=0.01, max_new_tokens=1)[0]
    with torch.inference_mode():
        logits = llama.model(first.ids[None]).logits[0, -1]
    made = [replace(first, temperature=0.05, seed=seed) for seed in range(512)]
    drawn = torch.tensor([each.ids[0] for each in llama.generate(made, 512)])
    expected = torch.softmax(logits.double() / 0.05, dim=0)
    likely = expected.topk(3).indices
    share = torch.stack([(drawn == token).double().mean() for token in likely])
    # Five standard deviations of a share of 512 draws.
    assert torch.all((share - expected[likely]).abs() < 5 * (expected[likely] / 512).sqrt())


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_probabilities_of_answers_are_those_of_the_first_token_and_change_nothing(
    llama: Generator, llava: Generator, options: Any
) -> None:
    for each, images in ((llama, 0), (llava, 2)):
        texts = ["Why?", "What is this, and why?", "a"]
        made = [replace(prompt, length=64) for prompt in prompts(each, texts, images, answers=("A", "B"))]
        made[1] = replace(made[1], answers={})
        generator = Generator(each.checkpoint, each.model, each.stops, Decoding(**options))
        found = generator.generate(made, 4)
        assert [one.ids for one in found] == [
            one.ids for one in generator.generate([replace(prompt, answers={}) for prompt in made], 4)
        ]
        assert found[1].answers is None
        for prompt, one in ((made[0], found[0]), (made[2], found[2])):
            inputs = {**prompt.inputs, "input_ids": prompt.ids[None]}
            with torch.inference_mode():
                shares = torch.softmax(each.model(**inputs).logits[0, -1].double(), dim=0)
            expected = {text: float(shares[list(tokens)].sum().log()) for text, tokens in prompt.answers.items()}
            assert one.answers == pytest.approx(expected, abs=1e-3)


def test_features_of_an_image_are_computed_once_and_forgotten_later(llava: Generator) -> None:
    calls = []

    def counted(module: Any, inputs: Any, output: Any) -> None:
        calls.append(module)

    hook = llava.model.model.vision_tower.register_forward_hook(counted)
    fresh = Generator(llava.checkpoint, llava.model, llava.stops, llava.decoding)
    made = prompts(fresh, ["a", "b"], 1)
    same = [made[0], replace(made[0], seed=1), made[1]]
    fresh.generate([replace(prompt, length=64) for prompt in same], 8)
    hook.remove()
    assert len(calls) == 2
    for number in range(40):
        fresh._image_features(str(number), made[0].inputs["pixel_values"][0])
    assert len(fresh._features) == 32
