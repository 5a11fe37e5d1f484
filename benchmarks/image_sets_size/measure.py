"""Write the folder, and measure opening, indexing and reading it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_sets import ImageSets
from mining.sets.sources import files_source
from mining.sets.write_sets import ImageSetsWriter

__all__ = ["WORDS", "read", "timed", "write"]

WORDS, PIECE, READ, RANDOM = 300, 10_000, 100_000, 300

Value = TypeVar("Value")


def write(count: int, folder: str) -> None:
    """Write `count` pairs with an annotation of WORDS words each to `folder`."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in rng.integers(0, 10**6, 5_000)])
    source = files_source("photos", "/data/photos", folder)
    writer = ImageSetsWriter(folder)
    for first in range(0, count, PIECE):
        ids = [f"pair-{number:07d}" for number in range(first, min(first + PIECE, count))]
        writer.add(*pairs(ids, source.name, rng), [said(each, words[rng.integers(0, 5_000, WORDS)]) for each in ids])
    writer.finish([source], {})


def pairs(ids: list[str], source: str, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """(sets, members) of pairs with these ids, of random files of the source."""
    images = rng.integers(0, 400_000, 2 * len(ids)).tolist()
    sets = {"set_id": ids, "strategy": ["photos"] * len(ids), "size": [2] * len(ids)}
    members = {
        "set_id": np.repeat(ids, 2),
        "position": [0, 1] * len(ids),
        "source": [source] * len(images),
        "path": [f"train2017/{image:012d}.jpg" for image in images],
        "caption": [f"caption of image {image} in about ten words, as captions are" for image in images],
        "sha256": [f"{image * 2654435761:064x}" for image in images],
    }
    return pa.table(sets), pa.table(members)


def said(set_id: str, words: Any) -> Annotation:
    """A comparison of the set whose answer has these words."""
    turns = (Turn("user", (0, 1, "What differs?")), Turn("assistant", (" ".join(words),)))
    return Annotation.make(set_id, "comparison", Annotator("model", "1", "3f", {"temperature": 0.2}), turns)


def read(folder: str, count: int) -> dict[str, float]:
    """The figures of opening, indexing, reading and splitting the folder of `count` pairs."""
    warm = ImageSets.open(folder)
    number_of(iter(warm[:300]))  # loads the libraries, but no index
    warm.annotations.read(range(300))
    before = most_memory()
    sets, opened = timed(lambda: ImageSets.open(folder))
    view = sets.with_annotations("comparison")
    _, indexed = timed(lambda: view[count // 2])
    held = most_memory() - before
    places = np.random.default_rng(1).integers(0, count, RANDOM).tolist()
    _, random = timed(lambda: [view[place] for place in places])
    some = slice(0, min(READ, count))
    found, plain = timed(lambda: number_of(iter(sets[some])))
    _, annotated = timed(lambda: number_of(iter(view[some])))
    reading = most_memory() - before
    split, cut = timed(lambda: sets.split({"train": 0.8, "val": 0.1, "test": 0.1}, near_duplicates=None))
    print(split)
    return {
        "open ms": round(opened * 1e3, 1),
        "index MB": round(held),
        "index seconds": round(indexed, 2),
        "one annotated set ms": round(random / RANDOM * 1e3, 2),
        "sets a second": round(found / plain),
        "annotated sets a second": round(found / annotated),
        "split seconds": round(cut, 1),
        "reading MB": round(reading),
        "split MB": round(most_memory() - before),
    }


def number_of(items: Iterator[Any]) -> int:
    """The number of items, all of which are read."""
    return sum(1 for _ in items)


def timed(call: Callable[[], Value]) -> tuple[Value, float]:
    """What `call` returns, and the CPU seconds that it took."""
    started = time.process_time()
    return call(), time.process_time() - started


def most_memory() -> float:
    """The most MB of memory that this process has held so far; getrusage would count the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024 / 1e6
