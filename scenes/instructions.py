"""Writes instruction data on drawn scenes as LLaVA's JSON: questions about the easy world, of one image or of several.

OUT/000000.jpg ...        the scenes
OUT/instructions.json     [{"id", "image", "conversations": [{"from": "human", "value": "<image>\\n..."}, ...]}, ...]

They are the questions that the scenes' LLaVA was instructed on (`scenes.training.llava_questions`), about other scenes:
what a mixture needs beside pairs, so that tuning on pairs does not cost single-image skill. Half of the statements are
asked in the form of NLVR2's, "True or False?", and a part of the other questions with lettered options, as A-OKVQA's in
LLaVA-1.5's mixture, so that the form of an answer need not be learned from pairs.
Run as: python -m scenes.instructions --split pool --count 2000 --out DIR
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from scenes.drawing.render import render
from scenes.tars import encode_jpeg
from scenes.training.lettered import as_choice, other_answers
from scenes.training.llava_data import MOST_IMAGES, Scenes, user_text
from scenes.world.easy import easy_scene
from scenes.world.seeded_random import rng_of

__all__ = ["main", "write_instructions"]

STATEMENT = "Is it true that "
TRUTH = {"yes": "True", "no": "False"}
LETTERED = 0.4  # of the questions whose answer can stand among options
SCENES = 500  # scenes that are held in memory at a time


def write_instructions(
    split: str, out: str | Path, count: int, *, first: int = 0, images: int = 1, size: int = 96
) -> Path:
    """Write `count` conversations about the easy scenes `first` to `first + count`; returns instructions.json.

    images: of a conversation, 1 to 4. Each of its questions is about one of them, or which of them shows something.
    The file is written last, and as a whole; a folder whose file has `count` records is complete and is left as it is.
    """
    folder = Path(out)
    path = folder / "instructions.json"
    if _is_complete(path, count):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, object]] = []
    shares = [float(number >= images) for number in range(1, MOST_IMAGES + 1)]
    for start in range(first, first + count, SCENES):
        some = min(SCENES, first + count - start)
        known, rng = Scenes(split, start, some), rng_of("instructions", split, start)
        for _ in range(some):
            sample = known.sample(rng, shares)
            names = [f"{number:06d}.jpg" for number in sample.images]
            for number, name in zip(sample.images, names, strict=True):
                if not (folder / name).exists():
                    (folder / name).write_bytes(encode_jpeg(render(easy_scene(split, number), size).image))
            said = []
            for turn, ((question, answer), kind) in enumerate(zip(sample.turns, sample.kinds, strict=True)):
                if rng.random() < LETTERED:
                    question, answer = as_choice(rng, question, answer, other_answers(rng, known, kind))
                elif rng.random() < 0.5:
                    question, answer = as_statement(question, answer)
                said.append({"from": "human", "value": user_text(images, question) if turn == 0 else question})
                said.append({"from": "gpt", "value": answer})
            image = names if images > 1 else names[0]
            records.append({"id": f"{len(records):06d}", "image": image, "conversations": said})
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(records, indent=0))
    partial.replace(path)
    return path


def _is_complete(path: Path, count: int) -> bool:
    """Whether the file has `count` records; one that is cut off or of something else is written again."""
    try:
        return len(json.loads(path.read_text())) == count
    except (FileNotFoundError, ValueError, TypeError):
        return False


def as_statement(question: str, answer: str) -> tuple[str, str]:
    """A question whether something is true, with yes or no, as a statement, True or False; others as they are."""
    if not question.startswith(STATEMENT) or answer not in TRUTH:
        return question, answer
    said = question.removeprefix(STATEMENT).removesuffix("?")
    statement = said[0].upper() + said[1:]
    asked = f'Is the statement "{statement}." True or False?\nAnswer with "True" or "False" directly.'
    return asked, TRUTH[answer]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write instruction data on drawn scenes.")
    parser.add_argument("--split", default="pool", help="split of the easy world (default: pool)")
    parser.add_argument("--count", type=int, default=2_000, help="conversations (default: 2,000)")
    parser.add_argument("--images", type=int, default=1, choices=range(1, MOST_IMAGES + 1), help="of a conversation")
    parser.add_argument("--out", type=Path, required=True, help="folder for the images and instructions.json")
    given = parser.parse_args(arguments)
    print(write_instructions(given.split, given.out, given.count, images=given.images))


if __name__ == "__main__":
    main()
