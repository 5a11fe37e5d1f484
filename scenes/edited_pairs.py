"""Writes pairs of a drawn scene and its edit, with a note on what changed, in Spot-the-Diff's format.

OUT/000000.jpg, 000000_2.jpg   a scene of the easy world and the same scene with one to three changes
OUT/notes.json                 [{"img_id": "000000", "sentences": ["...", ...]}, ...]

A note names the differences only, as people write them: no commonalities, no structure. `clipmine import OUT/notes.json
--format spot-the-diff --images OUT` reads it.
Run as: python -m scenes.edited_pairs --split pool --count 1000 --out DIR
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from scenes.comparing.compare import compare
from scenes.comparing.edit import edit
from scenes.drawing.render import render
from scenes.held_out.pairs import EDITS
from scenes.tars import encode_jpeg
from scenes.world.easy import EASY_TYPES, easy_scene
from scenes.world.scene import Scene
from scenes.world.seeded_random import pick, rng_of, shuffled

MOST_CHANGES = 3
_ATTEMPTS = 20
CHUNK = 100  # pairs a task

__all__ = ["edited_pair", "main", "write_edited_pairs"]


def edited_pair(split: str, number: int) -> tuple[Scene, Scene]:
    """Easy scene `number` of a split and the scene with one to three changes; the same on every machine.

    An edit that brings a type that is not easy, or is not possible, is left out; scenes that allow no edit are equal.
    """
    scene = easy_scene(split, number)
    rng = rng_of("edited pair", split, number)
    changed = scene
    for axis in shuffled(rng, EDITS)[: 1 + int(rng.random() * MOST_CHANGES)]:
        for attempt in range(_ATTEMPTS):
            try:
                found = edit(changed, axis, seed=f"{number}/{attempt}")
            except ValueError:
                continue
            if all(thing.type in EASY_TYPES for thing in found.objects):
                changed = found
                break
    return (scene, changed) if rng.random() < 0.5 else (changed, scene)


def note(first: Scene, second: Scene, seed: object) -> list[str]:
    """One to three sentences on what differs, true but not all of it, as a person writes them."""
    rng = rng_of("note", seed)
    said = [difference.text for difference in compare(first, second).differences]
    return shuffled(rng, said)[: pick(rng, (1, 2, 3))]


def write_edited_pairs(split: str, out: str | Path, count: int, *, workers: int = 1, size: int = 96) -> Path:
    """Write `count` pairs of the split into the folder `out`; returns the path of notes.json, which is written last.

    A folder whose notes.json has `count` records is complete and is left as it is.
    """
    folder = Path(out)
    path = folder / "notes.json"
    if path.exists() and len(json.loads(path.read_text())) == count:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(split, first, min(first + CHUNK, count), str(folder), size) for first in range(0, count, CHUNK)]
    if workers == 1 or len(tasks) == 1:
        found = [_chunk(task) for task in tasks]
    else:
        # Spawn, not fork: OpenCV and NumPy keep threads, whose locks a forked process would inherit.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(_chunk, tasks))
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps([record for records in found for record in records], indent=0))
    partial.replace(path)
    return path


def _chunk(task: tuple[str, int, int, str, int]) -> list[dict[str, object]]:
    return list(_records(*task))


def _records(split: str, first: int, last: int, folder: str, size: int) -> Iterator[dict[str, object]]:
    for number in range(first, last):
        scenes = edited_pair(split, number)
        for scene, suffix in zip(scenes, ("", "_2"), strict=True):
            Path(folder, f"{number:06d}{suffix}.jpg").write_bytes(encode_jpeg(render(scene, size).image))
        yield {"img_id": f"{number:06d}", "sentences": note(*scenes, (split, number))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write pairs of a scene and its edit, with notes on what changed.")
    parser.add_argument("--split", default="pool", help="split of the easy world (default: pool)")
    parser.add_argument("--count", type=int, default=1_000, help="pairs (default: 1,000)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the images and notes.json")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    given = parser.parse_args(arguments)
    print(write_edited_pairs(given.split, given.out, given.count, workers=given.workers))


if __name__ == "__main__":
    main()
