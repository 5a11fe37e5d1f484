"""The loop's settings: how much is drawn, mined, tuned on and measured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import scenes as scenes_package

__all__ = ["BASE", "CAD_PARTS", "CHOICE_ALONE", "CLIP", "MIX", "TUNE", "LoopSettings", "cpu_precision"]

_WORLD = Path(next(iter(scenes_package.__path__)))
CLIP = os.path.relpath(_WORLD / "models" / "clip")  # embeds the corpus, for `similar`
BASE = os.path.relpath(_WORLD / "models" / "llava")  # what tuning starts from

# What is taught of a mined pair: its comparison, at times starting from a note or captions, as phase 2 asks.
CAD_PARTS = "commonalities+differences+hints"
# The same pairs again, with the choice alone. CaD-VI has it behind the comparison, where the letter can be read off the
# text. So small a model learns that instead: after 7,200 samples it chose right in .55 of 120 held-out pairs, and where
# the choice stood only alone, in .83.
CHOICE_ALONE = "choice"
# How pairs are mined: CaD-VI's noun overlap, look-alikes, and pairs of one attribute.
MIX = "overlap:0.4,similar:0.4,attribute:0.2"
# The small model has 2 to 3 million weights, so all of its language model is trained. Small batches learn from far
# fewer samples: after 2,700 choices alone it chose right in .77 of 120 held-out pairs at batch 8 and 3e-4, in .67 at
# batch 16 and 5e-4, in .41 at batch 48 and 1e-3. CaD-VI's own recipe, for 7 billion weights, is the stage's default.
TUNE: dict[str, Any] = {
    "stage": "cad",
    "train": "full",
    "lr": 3e-4,
    "projector_lr": 3e-4,
    "batch_size": 8,
    "epochs": 2,
    "max_length": 1024,
    "batching": "length",
    "weigh": "square",
    "part_tokens": 2048,
    "device": "cpu",
}


def cpu_precision() -> Literal["bf16", "fp32"]:
    """bf16 where the CPU computes in it, which is a third faster there; others would emulate it."""
    import torch

    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


@dataclass(frozen=True)
class LoopSettings:
    """Sizes of a run.

    Attributes:
        scenes: drawn scenes of the corpus from which pairs are mined.
        pairs: mined pairs, annotated by their captions (phase 1).
        edits: pairs of a scene and its edit, with a note on the differences, annotated by the tuned model (phase 2).
        instructions: single-image conversations in the mixture.
        held_out: pairs of each held-out task.
        compared: held-out pairs that each model compares; shown: those of them on the page.
        seed: of mining, wording, order and tuning.
    """

    scenes: int = 4_000
    pairs: int = 4_000
    edits: int = 1_500
    instructions: int = 3_000
    held_out: int = 150
    compared: int = 100
    shown: int = 8
    seed: int = 0

    @classmethod
    def quick(cls) -> LoopSettings:
        """Small enough for a test: no model learns anything from it."""
        return cls(scenes=120, pairs=60, edits=12, instructions=20, held_out=6, compared=4, shown=2)
