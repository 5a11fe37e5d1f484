"""Draws what the loop needs: a corpus, edited pairs with notes, single-image conversations, held-out tasks.

    OUT/corpus/00000.tar ...        scenes with dense captions, from which pairs are mined
    OUT/edits/notes.json            pairs of a scene and its edit, with notes in Spot-the-Diff's format
    OUT/instructions/instructions.json   single-image conversations in LLaVA's format
    OUT/held_out/                   the pair tasks of `scenes.held_out.pair_tasks`
    OUT/held_out/single.jsonl       questions about one held-out image, in CaD-VI's evaluation format

All of them are scenes of the easy world, and no scene is in two of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.files import write_atomic
from jobs.demo.loop.settings import LoopSettings
from scenes.drawing.render import render
from scenes.edited_pairs import write_edited_pairs
from scenes.held_out.pair_tasks import write_pair_tasks
from scenes.instructions import write_instructions
from scenes.tars import encode_jpeg, write_split
from scenes.training.llava_questions import about, asked_of
from scenes.world.easy import easy_scene
from scenes.world.seeded_random import rng_of

__all__ = ["Material", "draw_material"]

# Numbers of the split `pool` from which instructions are drawn; edits begin at 0.
INSTRUCTIONS_FROM = 100_000
# Numbers of the split `test` that single-image questions are about; the pair tasks begin below a million.
SINGLE_FROM = 2_000_000
# Kinds of single-image questions with one clear short answer.
SINGLE_KINDS = ("color", "count", "place", "light", "action", "side")


@dataclass(frozen=True)
class Material:
    """Paths of what was drawn. scenes: how many in all."""

    corpus: Path
    notes: Path
    instructions: Path
    held_out: Path
    single: Path
    scenes: int


def draw_material(root: Path, settings: LoopSettings, workers: int = 2) -> Material:
    """Draw everything into `root`; what is there already is not drawn again."""
    corpus, held_out = root / "corpus", root / "held_out"
    write_split(
        "corpus", corpus, settings.scenes, shard_size=1_000, workers=workers, progress=lambda more: None, easy=True
    )
    notes = write_edited_pairs("pool", root / "edits", settings.edits, workers=workers)
    instructions = write_instructions("pool", root / "instructions", settings.instructions, first=INSTRUCTIONS_FROM)
    write_pair_tasks(held_out, max(settings.held_out, settings.compared))
    single = _write_single(held_out, settings.held_out)
    pictures = sum(1 for folder in (notes.parent, instructions.parent, held_out) for _ in folder.rglob("*.jpg"))
    return Material(corpus, notes, instructions, held_out, single, settings.scenes + pictures)


def _write_single(folder: Path, count: int) -> Path:
    """Write `count` questions about one image each, with short answers."""
    path = folder / "single.jsonl"
    if path.exists() and len(path.read_text().splitlines()) == count:
        return path
    (folder / "single").mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(record) + "\n" for record in _single(folder, count)))
    return path


def _single(folder: Path, count: int) -> Iterator[dict[str, Any]]:
    number = made = 0
    while made < count:
        scene = easy_scene("test", SINGLE_FROM + number)
        number += 1
        rng = rng_of("single", scene.id)
        wanted = SINGLE_KINDS[made % len(SINGLE_KINDS)]
        asks = [ask for ask in about(scene).asks if ask.kind == wanted]
        if not asks:
            continue
        ask = asks[int(rng.random() * len(asks))]
        name = f"single/{made:05d}.jpg"
        (folder / name).write_bytes(encode_jpeg(render(scene).image))
        question = asked_of(rng, ask.question, "the picture")
        yield {
            "image": [name], "text": f"<image>\n{question}", "answer": ask.answer, "question_id": made,
            "category": ask.kind,
        }  # fmt: skip
        made += 1
