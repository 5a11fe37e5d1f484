"""Conversations as tokens: what is trained, images in their places, pairs whose answers differ, blocks on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from scenes.training.llava_data import (
    STAGES,
    SYSTEM,
    Sample,
    Scenes,
    encode,
    load_tokenizer,
    tokenizer_texts,
    user_text,
    write_block,
)
from scenes.training.llava_model import IMAGE_ID, IMAGE_TOKENS, VOCABULARY, train_tokenizer
from scenes.world.seeded_random import rng_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sequences")
    train_tokenizer(tokenizer_texts(40)).save(str(out / "tokenizer.json"))
    return out


@pytest.fixture(scope="module")
def known() -> Scenes:
    return Scenes("language", 0, 80)


def test_a_conversation_is_the_text_of_the_template_and_answers_are_trained(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    sample = Sample((3, 5), (("Is there a bus in image 1?", "no"), ("Describe image 2.", "a red car")), ("x", "y"))
    ids, trained = encode(tokenizer, sample)
    text = (
        "<s>USER: Image 1: <image>\nImage 2: <image>\nIs there a bus in image 1? ASSISTANT: no</s>"
        "USER: Describe image 2. ASSISTANT: a red car</s>"
    ).replace("<image>", "<image>" * IMAGE_TOKENS)
    assert ids == tokenizer.encode(text).ids
    kept = [i for i, learned in zip(ids, trained, strict=True) if learned]
    assert tokenizer.decode(kept, skip_special_tokens=False) == " no</s> a red car</s>"


def test_a_system_text_stands_before_the_first_question(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    ids, _ = encode(tokenizer, Sample((1,), (("Describe the picture.", "a cat"),), ("describe",), SYSTEM))
    start = tokenizer.decode(ids[: ids.index(IMAGE_ID)], skip_special_tokens=False)
    assert start == f"<s>{SYSTEM} USER: "
    assert user_text(1, "Why?") == "<image>\nWhy?"


def test_with_several_images_every_question_names_one_or_asks_for_one(known: Scenes) -> None:
    rng = rng_of("several")
    for _ in range(40):
        sample = known.sample(rng, (0.0, 0.6, 0.8, 1.0))
        assert 2 <= len(sample.images) == len(set(sample.images)) <= 4
        names = [f"image {number}" for number in range(1, len(sample.images) + 1)]
        for (question, answer), kind in zip(sample.turns, sample.kinds, strict=True):
            assert answer in names if kind == "which" else any(name in question for name in names)


def test_most_questions_about_a_pair_have_another_answer_for_the_other_image(known: Scenes) -> None:
    rng = rng_of("differ")
    asked = differ = 0
    for _ in range(300):
        images = known.group(rng, 2)
        ask = known.turn(rng, images, 0)
        same = [other.answer for other in known.known[images[1]].asks if other.key == ask.key]
        if same:
            asked += 1
            differ += ask.answer not in same
    assert differ > 0.7 * asked > 40


def test_which_image_shows_something_is_asked_where_one_image_alone_does(known: Scenes) -> None:
    rng = rng_of("which")
    asked = [(images, known.which(rng, images, 1)) for images in (known.group(rng, 2) for _ in range(60))]
    found = [(images, ask) for images, ask in asked if ask is not None]
    assert len(found) > 30
    for images, ask in found:
        here, other = known.known[images[1]], known.known[images[0]]
        assert ask.answer == "image 2"
        if ask.question.startswith("Which image shows"):
            phrase = ask.question.removeprefix("Which image shows ")[:-1]
            assert phrase in here.phrases
            assert phrase not in other.phrases


def test_a_block_is_the_same_whoever_writes_it(folder: Path, tmp_path: Path) -> None:
    blocks = []
    for out in (folder, tmp_path):
        if out != folder:
            (out / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        write_block(out, "mixed", 1, images=100, scenes=20, sequences=30)
        with np.load(out / "mixed_00001.npz", allow_pickle=False) as file:
            blocks.append({name: file[name] for name in file.files})
    one, other = blocks
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert len(one["starts"]) == 31
    assert one["starts"][-1] == len(one["tokens"]) == len(one["trained"])
    pictures = (one["tokens"] == IMAGE_ID).sum() // IMAGE_TOKENS
    assert pictures == (one["images"] >= 0).sum()
    assert one["images"].max() < 100


def test_the_tokenizer_has_no_more_tokens_than_the_model(folder: Path) -> None:
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() <= VOCABULARY
    assert set(STAGES) == {"single", "mixed", "pairs"}
