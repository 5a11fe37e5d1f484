"""Draws scenes of the easy world into flat arrays before training, which then does not wait for drawing.

FOLDER/images.npy    uint8 [n, 96, 96, 3]   memory-mapped
FOLDER/covered.npy   uint8 [n, objects, 16]: how much of each patch of the 4 x 4 grid an object covers, in 255ths
Scene i of a folder is `easy_scene(split, i)`, whose truth costs half a millisecond, so it is not stored.
Run as: python -m scenes.training.llava_images --out FOLDER --split language --count 40000
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenes.drawing.render import render
from scenes.world.easy import easy_scene

SIZE = 96  # pixels a side
GRID = 4  # patches a side
OBJECTS = 4  # most objects of a scene of the easy world
CHUNK = 500  # scenes a task


def coverage(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 [OBJECTS, GRID * GRID]: the share of each patch that an object covers in a mask [s, s], times 255."""
    side = mask.shape[0] // GRID
    tiles = mask.reshape(GRID, side, GRID, side)
    shares = [(tiles == index + 1).mean(axis=(1, 3)).ravel() for index in range(OBJECTS)]
    scaled: npt.NDArray[np.uint8] = np.rint(255 * np.stack(shares)).astype(np.uint8)
    return scaled


def _draw(task: tuple[str, int, int, str]) -> int:
    split, first, last, folder = task
    images = np.load(f"{folder}/images.npy", mmap_mode="r+")
    covered = np.load(f"{folder}/covered.npy", mmap_mode="r+")
    for number in range(first, last):
        drawn = render(easy_scene(split, number), SIZE)
        images[number] = drawn.image
        covered[number] = coverage(drawn.mask)
    images.flush()
    covered.flush()
    return last - first


def prepare_images(out: Path, split: str, count: int, workers: int = 2) -> None:
    """Write the arrays of scenes 0..count of `split`, unless the folder has them; 27,712 bytes of disk a scene."""
    made = {"split": split, "count": count, "size": SIZE, "grid": GRID}
    done = out / "done.json"
    if done.exists() and json.loads(done.read_text()) == made:
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, shape in (("images", (count, SIZE, SIZE, 3)), ("covered", (count, OBJECTS, GRID * GRID))):
        np.lib.format.open_memmap(out / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape).flush()
    tasks = [(split, first, min(first + CHUNK, count), str(out)) for first in range(0, count, CHUNK)]
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(_draw, tasks))
    else:
        for task in tasks:
            _draw(task)
    done.write_text(json.dumps(made))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Draw scenes of the easy world into flat arrays.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the arrays")
    parser.add_argument("--split", default="language", help="split of the scenes (default: language)")
    parser.add_argument("--count", type=int, default=40_000, help="scenes (default: 40,000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    given = parser.parse_args(arguments)
    prepare_images(given.out, given.split, given.count, given.workers)


if __name__ == "__main__":
    main()
