"""A training step of locked-text gated-image tuning, against the step of REACT's authors.

    git clone https://github.com/microsoft/react /tmp/react        # their gated fork of open_clip, run as it is
    python benchmarks/customize_peers.py --peer /tmp/react [--quick]

Same model (ViT-B-32, the same random weights), same batch, float32, one after the other in turns; samples/s from the
fastest turn of each side, the one least disturbed. Theirs is `training.train.train_one_epoch` with `--lock-text
--lock-image-unlock-gated` on batches in memory. Ours takes the locked texts' embeddings as the store has them; once
from pixels, as with augmentation, and once from the frozen blocks' kept output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TARGETS = {"with_augmentation": 1.2, "with_kept_prefix": 1.4}
FIRST_LOSS_WITHIN = 1e-3  # one model on both sides; attention sums in another order


class Side:
    """One process that takes steps when asked."""

    def __init__(self, *args: str) -> None:
        step = Path(__file__).with_name("customize_peers_step.py")
        self._process = subprocess.Popen(
            [sys.executable, str(step), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.hardware = self._answer()

    def take(self, kind: str, count: int) -> dict[str, float]:
        """`count` steps: seconds and the last loss."""
        assert self._process.stdin is not None
        print(kind, count, file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("one side ended before it answered; its messages are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """Run both sides in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of microsoft/react")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two turns of one step, batch 16")
    args = parser.parse_args()
    if not (args.peer / "react_customization" / "src" / "training" / "train.py").is_file():
        parser.error(f"{args.peer}: is no checkout of microsoft/react (it has no react_customization/src/training)")
    batch, turns, count = (16, 2, 1) if args.quick else (args.batch, args.turns, 2)
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.safetensors")
        peer = Side("peer", str(batch), weights, str(args.peer.resolve()))
        ours = Side("ours", str(batch), weights)
    print(f"batch {batch}, {ours.hardware['threads']} threads, torch {ours.hardware['torch']}, float32")
    first = {"peer": peer.take("steps", 1)["loss"], "ours": ours.take("steps", 1)["loss"]}
    ours.take("prefix", 1)
    print(f"loss of the first step: {first['peer']:.6f} theirs, {first['ours']:.6f} ours")
    seconds: dict[str, list[float]] = {"peer": [], "with_augmentation": [], "with_kept_prefix": []}
    for _ in range(turns):
        for name, side, kind in (
            ("peer", peer, "steps"),
            ("with_augmentation", ours, "steps"),
            ("with_kept_prefix", ours, "prefix"),
        ):
            seconds[name].append(side.take(kind, count)["seconds"] / count)
    peer.close()
    ours.close()
    rates = {name: batch / min(taken) for name, taken in seconds.items()}
    print(f"{'':20} samples/s  over the peer's  target")
    for name, rate in rates.items():
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        print(f"{name:20} {rate:9.2f}  {rate / rates['peer']:15.2f}  {target:>6}")
    ratios = {name: round(rates[name] / rates["peer"], 3) for name in TARGETS}
    same = abs(first["peer"] - first["ours"]) < FIRST_LOSS_WITHIN
    holds = same and all(ratios[name] >= target for name, target in TARGETS.items())
    figures = {
        **ratios,
        "samples_per_second": {name: round(rate, 3) for name, rate in rates.items()},
        "same_loss": same,
    }
    print(json.dumps({"name": "customize_peers", "figures": figures, "targets": TARGETS, "holds": holds}))


if __name__ == "__main__":
    main()
