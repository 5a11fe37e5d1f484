"""Renders the pretraining split into flat arrays before training, which then does not wait for drawing.

FOLDER/images.npy      uint8 [n, 96, 96, 3]   memory-mapped
FOLDER/tokens.npy      uint16 [n, captions, context]
FOLDER/region_tokens.npy  uint16 [n, regions, region context]: a phrase about each of the first visible objects
FOLDER/region_types.npy   int16 [n, regions]: the number of the object's type in the catalog; -1: no object
FOLDER/region_patches.npy uint8 [n, regions, 8]: the patches of the 8 x 8 grid that the object covers, as packed bits
FOLDER/tokenizer/      the byte-level BPE, learned from the first 20,000 scenes' captions
Run as: python -m scenes.training.train_data --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from scenes.drawing.render import render
from scenes.language.captions import captions
from scenes.training.tokenizer import Tokens, train_tokenizer
from scenes.world.catalog import load_catalog
from scenes.world.sample import sample

IMAGE_SIZE = 96
CAPTIONS = 8  # alt text, five clean captions, the dense one, the phrase of one visible object
REGIONS = 4  # objects of a scene with a phrase and patches of their own
REGION_CONTEXT = 24  # tokens; phrases are short
GRID = 8  # patches a side
COVERED = 0.2  # share of a patch's pixels from which it belongs to an object; its fullest patch always does
CHUNK = 500  # scenes a task
TOKENIZER_SCENES = 20_000


def scene_texts(split: str, number: int) -> tuple[list[str], list[int]]:
    """A scene's texts, and the indices of its objects that have a phrase.

    The texts in order: alt, five clean, dense, one region, then `REGIONS` phrases ("" if there are fewer objects).
    """
    scene = sample(split, number)
    said = captions(scene)
    seen = [i for i, phrase in enumerate(said.regions) if phrase]
    region = said.regions[seen[number % len(seen)]] if seen else said.clean[0]
    first = seen[:REGIONS]
    phrases = [said.regions[i] for i in first] + [""] * (REGIONS - len(first))
    return [said.alt, *said.clean[:5], said.dense, region, *phrases], first


def covered_patches(mask: npt.NDArray[np.uint8], index: int) -> npt.NDArray[np.bool_]:
    """bool [GRID * GRID]: the patches that object `index` covers in a mask [s, s]; all False if none."""
    side = mask.shape[0] // GRID
    share = (mask == index + 1).reshape(GRID, side, GRID, side).mean(axis=(1, 3)).ravel()
    covered: npt.NDArray[np.bool_] = (share > 0) & ((share >= COVERED) | (share == share.max()))
    return covered


def _texts(task: tuple[str, int, int]) -> list[tuple[list[str], list[int]]]:
    split, first, last = task
    return [scene_texts(split, number) for number in range(first, last)]


def _images(task: tuple[str, int, int, str, list[list[int]]]) -> int:
    split, first, last, folder, objects = task
    images = np.load(f"{folder}/images.npy", mmap_mode="r+")
    types = np.load(f"{folder}/region_types.npy", mmap_mode="r+")
    patches = np.load(f"{folder}/region_patches.npy", mmap_mode="r+")
    places = {name: place for place, name in enumerate(load_catalog().types)}
    for number, shown in zip(range(first, last), objects, strict=True):
        scene = sample(split, number)
        drawn = render(scene, IMAGE_SIZE)
        images[number] = drawn.image
        for position, index in enumerate(shown):
            covered = covered_patches(drawn.mask, index)
            if covered.any():
                types[number, position] = places[scene.objects[index].type]
                patches[number, position] = np.packbits(covered)
    for array in (images, types, patches):
        array.flush()
    return last - first


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + CHUNK, count)) for first in range(0, count, CHUNK))


def _array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], fill: int | None = None) -> np.memmap[Any, Any]:
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if fill is not None:
        array[:] = fill
    return array


def prepare(out: Path, split: str = "pretrain", count: int = 100_000, workers: int = 2) -> None:
    """Write the arrays for scenes 0..count of `split`, unless the folder has them already.

    The images take 27,648 bytes of disk a scene.
    """
    made = {"split": split, "count": count, "size": IMAGE_SIZE, "regions": REGIONS}
    done = out / "done.json"
    if done.exists() and json.loads(done.read_text()) == made:
        return
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        tasks = [(split, first, last) for first, last in _chunks(count)]
        rows = [row for rows in tqdm(pool.map(_texts, tasks), "captions", len(tasks)) for row in rows]
        texts, shown = [row[0] for row in rows], [row[1] for row in rows]
        learned_from = (text for row in texts[:TOKENIZER_SCENES] for text in row[:CAPTIONS])
        train_tokenizer(learned_from, out / "tokenizer")
        tokens, phrase_tokens = Tokens(out / "tokenizer"), Tokens(out / "tokenizer", REGION_CONTEXT)
        encoded = _array(out / "tokens.npy", np.uint16, (count, CAPTIONS, tokens.context_length))
        phrases = _array(out / "region_tokens.npy", np.uint16, (count, REGIONS, REGION_CONTEXT))
        for first, last in tqdm(list(_chunks(count)), "tokens"):
            flat = [text for row in texts[first:last] for text in row[:CAPTIONS]]
            encoded[first:last] = tokens.encode(flat).reshape(last - first, CAPTIONS, -1)
            flat = [text for row in texts[first:last] for text in row[CAPTIONS:]]
            phrases[first:last] = phrase_tokens.encode(flat).reshape(last - first, REGIONS, -1)
        encoded.flush()
        phrases.flush()
        _array(out / "images.npy", np.uint8, (count, IMAGE_SIZE, IMAGE_SIZE, 3)).flush()
        _array(out / "region_types.npy", np.int16, (count, REGIONS), -1).flush()
        _array(out / "region_patches.npy", np.uint8, (count, REGIONS, GRID * GRID // 8)).flush()
        drawing = [(*task, str(out), shown[task[1] : task[2]]) for task in tasks]
        for _ in tqdm(pool.map(_images, drawing), "images", len(drawing)):
            pass
    done.write_text(json.dumps(made))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Render the pretraining split into flat arrays.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the arrays and the tokenizer")
    parser.add_argument("--count", type=int, default=100_000, help="scenes (default: 100,000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    args = parser.parse_args(arguments)
    prepare(args.out, count=args.count, workers=args.workers)


if __name__ == "__main__":
    main()
