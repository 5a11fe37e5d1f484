"""Puts weights that `clipmine tune` trained further in the place of the scenes' LLaVA's, in fp16.

The scenes' LLaVA learned lettered options this way, from the questions of `scenes.instructions`:

    python -m scenes.instructions --split language --count 16000 --out DATA/many
    python -m scenes.instructions --split language --count 8000 --out DATA/one
    python -m scenes.instructions --split language --count 8000 --images 2 --out DATA/two
    clipmine tune --model scenes/models/llava --out DATA/letters OPTIONS --lr 3e-4 --projector-lr 3e-4 \\
        --data DATA/many/instructions.json,images=DATA/many,name=letters
    clipmine tune --model DATA/letters --out DATA/both OPTIONS --lr 2e-4 --projector-lr 2e-4 \\
        --data DATA/one/instructions.json,images=DATA/one,name=one,count=2000 \\
        --data DATA/two/instructions.json,images=DATA/two,name=two,count=6000
    python -m scenes.training.llava_continued DATA/letters DATA/both --out scenes/models/llava
    python -m scenes.training.llava_card scenes/models/llava

with the OPTIONS `--stage instruct --full --batch-size 8 --weigh square --max-length 1024 --part-tokens 2048
--no-cache-features --device cpu --precision bf16`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from index.errors import BadInput
from scenes.training.train_llava import OUT

__all__ = ["continue_with", "main"]

WEIGHTS = "model.safetensors"


def continue_with(tuned: Sequence[Path], out: Path) -> dict[str, Any]:
    """Replace the weights in `out` by those of the last of `tuned`, and note all their training in OUT/training.json.

    tuned: folders of `clipmine tune --full`, each of which started from the one before. Raises BadInput where the last
        is a model of another shape.
    """
    weights, before = load_file(str(tuned[-1] / WEIGHTS)), load_file(str(out / WEIGHTS))
    if {name: each.shape for name, each in weights.items()} != {name: each.shape for name, each in before.items()}:
        raise BadInput(f"{tuned[-1]}: its weights have other names or shapes than those of {out}")
    steps, samples, seconds = 0, 0, 0.0
    for folder in tuned:
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        steps, seconds = steps + rows[-1]["step"], seconds + rows[-1]["seconds"]
        samples += sum(row["samples"] for row in rows)
    about: dict[str, Any] = json.loads((out / "training.json").read_text())
    about["continued"] = {"steps": steps, "conversations": samples, "minutes": round(seconds / 60, 1)}
    partial = out / f"{WEIGHTS}.new"
    save_file({name: each.half() for name, each in weights.items()}, str(partial), metadata={"format": "pt"})
    partial.replace(out / WEIGHTS)
    (out / "training.json").write_text(json.dumps(about, indent=2) + "\n")
    return about


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Put weights that were trained further in the scenes' LLaVA.")
    parser.add_argument("tuned", type=Path, nargs="+", help="folders of `clipmine tune --full`, in their order")
    parser.add_argument("--out", type=Path, default=OUT, help="the model's folder (scenes/models/llava)")
    given = parser.parse_args(arguments)
    print(json.dumps(continue_with(given.tuned, given.out)))


if __name__ == "__main__":
    main()
