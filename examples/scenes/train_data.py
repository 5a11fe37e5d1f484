"""Renders the pretraining split once into flat arrays, so that training never waits for drawing.

FOLDER/images.npy      uint8 [n, 96, 96, 3]   memory-mapped
FOLDER/tokens.npy      uint16 [n, captions, context]
FOLDER/tokenizer/      the byte-level BPE, learned from the first 20,000 scenes' captions
Run as: python -m examples.scenes.train_data --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from examples.scenes.captions import captions
from examples.scenes.render import render
from examples.scenes.sample import sample
from examples.scenes.tokenizer import Tokens, train_tokenizer

IMAGE_SIZE = 96
CAPTIONS = 8  # alt text, five clean captions, the dense one, the phrase of one object that can be seen
CHUNK = 500  # scenes a task
TOKENIZER_SCENES = 20_000


def scene_texts(split: str, number: int) -> list[str]:
    """The `CAPTIONS` texts that training draws from, in a fixed order: alt, five clean, dense, one region."""
    scene = sample(split, number)
    said = captions(scene)
    seen = [phrase for phrase in said.regions if phrase]
    region = seen[number % len(seen)] if seen else said.clean[0]
    return [said.alt, *said.clean[:5], said.dense, region]


def _texts(task: tuple[str, int, int]) -> list[list[str]]:
    split, first, last = task
    return [scene_texts(split, number) for number in range(first, last)]


def _images(task: tuple[str, int, int, str]) -> int:
    split, first, last, path = task
    images = np.load(path, mmap_mode="r+")
    for number in range(first, last):
        images[number] = render(sample(split, number), IMAGE_SIZE).image
    images.flush()
    return last - first


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + CHUNK, count)) for first in range(0, count, CHUNK))


def prepare(out: Path, split: str = "pretrain", count: int = 100_000, workers: int = 2) -> None:
    """Write the arrays for scenes 0..count of `split`; a folder made with the same numbers is left as it is.

    Takes 27,648 bytes of disk a scene for the images.
    """
    made = {"split": split, "count": count, "size": IMAGE_SIZE}
    done = out / "done.json"
    if done.exists() and json.loads(done.read_text()) == made:
        return
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        tasks = [(split, first, last) for first, last in _chunks(count)]
        texts = [row for rows in tqdm(pool.map(_texts, tasks), "captions", len(tasks)) for row in rows]
        train_tokenizer((text for row in texts[:TOKENIZER_SCENES] for text in row), out / "tokenizer")
        tokens = Tokens(out / "tokenizer")
        encoded = np.lib.format.open_memmap(
            out / "tokens.npy", mode="w+", dtype=np.uint16, shape=(count, CAPTIONS, tokens.context_length)
        )
        for first, last in tqdm(list(_chunks(count)), "tokens"):
            flat = [text for row in texts[first:last] for text in row]
            encoded[first:last] = tokens.encode(flat).reshape(last - first, CAPTIONS, -1)
        encoded.flush()
        path = str(out / "images.npy")
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, IMAGE_SIZE, IMAGE_SIZE, 3)).flush()
        drawing = [(*task, path) for task in tasks]
        for _ in tqdm(pool.map(_images, drawing), "images", len(drawing)):
            pass
    done.write_text(json.dumps(made))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    prepare(args.out, count=args.count, workers=args.workers)
