"""Turns questions about scenes of the easy world into token sequences for training, prepared once on disk.

A sequence has one to four images and several question turns, so that many answers share the images' tokens. With
several images every question names its image, and most have another answer for another image: a model that does not
know which tokens belong to which image cannot answer them.

FOLDER/tokenizer.json        the byte-level BPE
FOLDER/STAGE_00000.npz       a block: tokens uint16 and trained bool, flat; starts int64 [n + 1]; images int32 [n, 4]
Run as: python -m scenes.training.llava_data --out FOLDER --stage pairs --blocks 8
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scenes.comparing.compare import compare
from scenes.language.captions import captions
from scenes.training.llava_model import BOS_ID, EOS_ID, IMAGE_ID, IMAGE_TOKENS, train_tokenizer
from scenes.training.llava_questions import Ask, about, asked_of, yes_no
from scenes.world.easy import easy_scene
from scenes.world.seeded_random import pick, rng_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SCENES, SEQUENCES = 6_000, 20_000  # of a block
MOST_IMAGES = 4
# Cumulative shares of sequences with 1, 2, 3 and 4 images.
STAGES = {"single": (1.0, 1.0, 1.0, 1.0), "mixed": (0.4, 0.96, 0.99, 1.0), "pairs": (0.2, 0.95, 0.99, 1.0)}
TURNS = {1: 8, 2: 10, 3: 10, 4: 10}
YES_NO = 0.5  # share of the turns
WHICH = 0.25  # share of the turns about several images that ask which one shows something
WEIGHTS = {
    "color": 4.0, "count": 1.2, "place": 1.2, "indoors": 0.3, "light": 0.5, "action": 1.6, "side": 1.5,
    "relation": 0.4, "objects": 1.8, "describe": 1.2, "caption": 0.2, "mixed": 0.3,
}  # fmt: skip
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)  # vicuna_v1's; without it in most sequences
SYSTEM_SHARE = 0.03
# Wordings that base training does not use, in the tokenizer only, so that tuning writes them in few tokens.
LATER = (
    'Which image suits the caption "" better?\nA. Image 1\nB. Image 2\nAnswer with the letter of the option.',
    "What are the commonalities and differences of the two images? List the commonalities and the differences.",
    "Commonalities:\n1. Both images show\n2. Both\nDifferences:\n1. Image 1 shows\n2. In the first, the second",
    "Answer the question with a single word or phrase. True or False. The left image shows. None.",
)


class Sample(NamedTuple):
    """A conversation: images by scene number, and turns of (question, answer)."""

    images: tuple[int, ...]
    turns: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...]
    system: str = ""


def tokenizer_texts(count: int = 2_500) -> Iterator[str]:
    """Texts that the tokenizer learns from: questions, answers, captions and comparisons of `language` scenes."""
    before = easy_scene("language", 0)
    for number in range(count):
        scene = easy_scene("language", number)
        known, rng = about(scene), rng_of("tokenizer", number)
        other = about(before)
        for ask in [*known.asks, *(yes_no(rng, known, [other]) for _ in range(8))]:
            if ask is not None:
                image = pick(rng, ("the picture", "image 1", "image 2"))
                yield f"USER: {asked_of(rng, ask.question, image)} ASSISTANT: {ask.answer}"
        for text in known.captions:
            yield f'"{text}" better? {text}'
        if number % 5 == 0:
            said = captions(scene)
            yield from (said.alt, said.dense, SYSTEM, *LATER, "USER: Image 1: \nImage 2: \nImage 3: \nImage 4: \n")
            yield compare(before, scene).text()
        before = scene


def user_text(images: int, question: str) -> str:
    """The first user message, with IMAGE in the images' places."""
    if images == 1:
        return f"<image>\n{question}"
    return "".join(f"Image {number}: <image>\n" for number in range(1, images + 1)) + question


def encode(tokenizer: Tokenizer, sample: Sample) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation, each <image> as IMAGE_TOKENS ids, and whether each is trained (answers, "</s>")."""
    words = _words_of(tokenizer)
    ids, trained = [BOS_ID], [False]
    for number, (question, answer) in enumerate(sample.turns):
        said = user_text(len(sample.images), question) if number == 0 else question
        start = f"{sample.system} " if sample.system and number == 0 else ""
        pieces = f"{start}USER: {said} ASSISTANT:".split("<image>")
        for place, piece in enumerate(pieces):
            new = [IMAGE_ID] * (IMAGE_TOKENS if place else 0) + words(piece)
            ids += new
            trained += [False] * len(new)
        new = [*words(f" {answer}"), EOS_ID]
        ids += new
        trained += [True] * len(new)
    return ids, trained


@functools.lru_cache(maxsize=2)
def _words_of(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """The ids of a text, kept for questions that come again."""
    return functools.lru_cache(maxsize=200_000)(lambda text: tokenizer.encode(text).ids)


class Scenes:
    """The scenes `first` to `first + count` of a split with what can be asked about them."""

    def __init__(self, split: str, first: int, count: int) -> None:
        self.first, self.count = first, count
        self.known = {number: about(easy_scene(split, number)) for number in range(first, first + count)}
        self.by_type: dict[str, list[int]] = {}
        self.by_place: dict[str, list[int]] = {}
        for number, known in self.known.items():
            self.by_place.setdefault(known.place, []).append(number)
            for name in sorted(known.present):
                self.by_type.setdefault(name, []).append(number)

    def group(self, rng: random.Random, size: int) -> tuple[int, ...]:
        """`size` different scenes; most share a type or a place with the first."""
        chosen = [self.first + int(rng.random() * self.count)]
        while len(chosen) < size:
            start, roll = self.known[chosen[0]], rng.random()
            if roll < 0.6 and start.present:
                new = pick(rng, self.by_type[pick(rng, sorted(start.present))])
            elif roll < 0.8:
                new = pick(rng, self.by_place[start.place])
            else:
                new = self.first + int(rng.random() * self.count)
            if new not in chosen:
                chosen.append(new)
            elif self.count <= 2 * MOST_IMAGES:
                chosen.append(next(n for n in self.known if n not in chosen))
        return tuple(chosen)

    def turn(self, rng: random.Random, images: tuple[int, ...], image: int) -> Ask:
        """A question about images[image]; most have another answer for another image."""
        here = self.known[images[image]]
        others = [self.known[number] for position, number in enumerate(images) if position != image]
        if not others:  # the wrong answers are about some other scene
            others = [self.known[self.first + int(rng.random() * self.count)]]
        if rng.random() < YES_NO:
            return yes_no(rng, here, others) or here.asks[0]
        weights = []
        for ask in here.asks:
            same = [other.answer for known in others for other in known.asks if other.key == ask.key]
            compared = 1.0 if len(images) == 1 or not same else 0.4 if ask.answer in same else 3.0
            weights.append(compared * WEIGHTS[ask.kind])
        roll = rng.random() * sum(weights)
        for ask, weight in zip(here.asks, weights, strict=True):
            roll -= weight
            if roll < 0:
                return ask
        return here.asks[-1]

    def which(self, rng: random.Random, images: tuple[int, ...], image: int) -> Ask | None:
        """A question that images[image] alone answers: which image shows a type, a phrase, or a place."""
        here = self.known[images[image]]
        others = [self.known[number] for position, number in enumerate(images) if position != image]
        seen = frozenset[str]().union(*(other.present | other.unclear for other in others))
        found = [f"In which image is the {name}?" for name in sorted(here.present - here.unclear - seen)]
        said = {phrase for other in others for phrase in other.phrases}
        found += [f"Which image shows {phrase}?" for phrase in here.phrases if phrase not in said]
        if all(other.place != here.place for other in others):
            found.append(f"Which image was taken {here.place}?")
        if not found:
            return None
        question = pick(rng, found)
        return Ask(("which", question), question, f"image {image + 1}")

    def sample(self, rng: random.Random, shares: Sequence[float], turns: int | None = None) -> Sample:
        """A random conversation; `shares`: cumulative shares of 1, 2, 3 and 4 images."""
        roll = rng.random()
        images = self.group(rng, next(count for count, bound in enumerate(shares, 1) if roll < bound))
        said: list[tuple[str, str]] = []
        kinds: list[str] = []
        for _ in range(turns or TURNS[len(images)]):
            image = int(rng.random() * len(images))
            asked = self.which(rng, images, image) if len(images) > 1 and rng.random() < WHICH else None
            ask = asked or self.turn(rng, images, image)
            name = "the picture" if len(images) == 1 else f"image {image + 1}"
            question = ask.question if asked else asked_of(rng, ask.question, name)
            if all(question != before for before, _ in said):
                said.append((question, ask.answer))
                kinds.append(ask.kind)
        system = SYSTEM if rng.random() < SYSTEM_SHARE else ""
        return Sample(images, tuple(said), tuple(kinds), system)


def load_tokenizer(out: Path) -> Tokenizer:
    """The tokenizer of the folder, learned now if there is none."""
    from tokenizers import Tokenizer

    if not (out / "tokenizer.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        train_tokenizer(tokenizer_texts()).save(str(out / "tokenizer.json"))
    return Tokenizer.from_file(str(out / "tokenizer.json"))


def write_block(
    out: Path, stage: str, block: int, images: int, scenes: int = SCENES, sequences: int = SEQUENCES
) -> None:
    """Write block number `block` of a stage from the drawn scenes 0..images of the split `language`."""
    path = out / f"{stage}_{block:05d}.npz"
    if path.exists():
        return
    tokenizer = load_tokenizer(out)
    known = Scenes("language", (block * scenes) % (images - scenes + 1), scenes)
    rng = rng_of("llava", stage, block)
    flat: list[int] = []
    trained: list[bool] = []
    starts, rows = [0], []
    for _ in range(sequences):
        sample = known.sample(rng, STAGES[stage])
        ids, learned = encode(tokenizer, sample)
        flat += ids
        trained += learned
        starts.append(len(flat))
        rows.append([*sample.images, *[-1] * (MOST_IMAGES - len(sample.images))])
    with path.with_suffix(".new").open("wb") as file:
        np.savez(
            file,
            tokens=np.array(flat, np.uint16),
            trained=np.array(trained, np.bool_),
            starts=np.array(starts, np.int64),
            images=np.array(rows, np.int32),
        )
    path.with_suffix(".new").replace(path)


def write_blocks(out: Path, stage: str, blocks: Sequence[int], images: int, workers: int = 1) -> None:
    """Write several blocks of a stage, those that exist excepted."""
    load_tokenizer(out)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for task in [pool.submit(write_block, out, stage, block, images) for block in blocks]:
            task.result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write blocks of token sequences for the scenes' LLaVA.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tokenizer and the blocks")
    parser.add_argument("--stage", choices=STAGES, required=True, help="how many images a sequence has")
    parser.add_argument("--first", type=int, default=0, help="number of the first block (default: 0)")
    parser.add_argument("--blocks", type=int, default=4, help=f"blocks of {SEQUENCES:,} sequences (default: 4)")
    parser.add_argument("--images", type=int, default=48_000, help="scenes drawn by llava_images (default: 48,000)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    given = parser.parse_args(arguments)
    write_blocks(given.out, given.stage, range(given.first, given.first + given.blocks), given.images, given.workers)


if __name__ == "__main__":
    main()
