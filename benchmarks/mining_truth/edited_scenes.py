"""Tars of drawn scenes with one thing changed, as Subtle-Diff and Spot-the-Diff pair an image with an edit of it.

Scenes that are drawn at random hardly ever differ in one thing only, so a corpus of them alone has no subtle pairs to
find. Each sample's json has the truth, as that of every drawn scene, and `edit`: the original's key and what changed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from scenes.comparing.axes import AXES
from scenes.comparing.edit import edit
from scenes.drawing.render import render
from scenes.tars import encode_jpeg, sidecar, write_tar
from scenes.world.sample import sample

# In half of the edits the background differs a little too, as in Subtle-Diff, whose annotators ignore it.
JITTER = 0.3


def write_edits(folder: Path, scenes: int, edits: int, shard_size: int) -> None:
    """Write `edits` edits, of as many scenes of the corpus split, which has `scenes`, as another tar in `folder`.

    shard_size: scenes in each tar of the split, from which keys follow. The axis goes round over all axes of
    `scenes.comparing.axes`; where a scene allows no edit along its axis, the next axis takes its place.
    """
    write_tar(folder / f"{-(-scenes // shard_size):05d}.tar", _samples(scenes, edits, shard_size))


def _samples(scenes: int, edits: int, shard_size: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    shard = -(-scenes // shard_size)
    for number in range(edits):
        base = number * scenes // edits
        original = sample("corpus", base)
        for turn in range(len(AXES)):
            axis = AXES[(number + turn) % len(AXES)]
            try:
                changed = edit(original, axis, seed=number, jitter=JITTER * (number % 2))
            except ValueError:  # the scene allows no such edit
                continue
            key = f"{shard:05d}{number:04d}"
            changed = dataclasses.replace(changed, id=f"edits/{number}")
            jpg = encode_jpeg(render(changed, 96).image)
            row = sidecar(changed, key, jpg, 96)
            row["edit"] = {"of": f"{base // shard_size:05d}{base % shard_size:04d}", "axis": axis}
            files = {"jpg": jpg, "json": json.dumps(row).encode(), "txt": str(row["caption"]).encode()}
            yield key, files
            break
