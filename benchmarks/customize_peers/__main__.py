"""A training step of locked-text gated-image tuning beside the step of REACT's authors, and the cost of loading data.

    git clone https://github.com/microsoft/react /tmp/react        # their gated fork of open_clip, run unchanged
    python -m benchmarks.customize_peers --peer /tmp/react [--images DIR] [--batch 32] [--turns 5] [--quick]

Both sides train the same model (ViT-B-32, the same random weights) on the same batch of pixels and captions in float32.
They take turns, and the median turn of each counts. Their step is `training.train.train_one_epoch` with `--lock-text
--lock-image-unlock-gated` on batches in memory. Ours is the trainer's own loop, also on batches in memory: of pixels
(as with augmentation), and of the cached output of the frozen blocks. To measure loading, our loop then reads tars of
JPEGs with the released augmentation, beside the same step on pixels in memory. --images names a folder of JPEG
photographs to put into the tars; without it they hold drawn scenes of 500 x 375 pixels with noise.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGETS = {"with_augmentation": 1.2, "with_kept_prefix": 1.4}
LOADING_TARGET = 1.05  # step time from tars over step time from memory, at most
FIRST_LOSS_WITHIN = 1e-3  # the losses differ a little: attention sums in another order, texts are kept in float16
BATCHES = 8  # in the tars


class Side:
    """A process with one of the trainers, which takes steps on request."""

    def __init__(self, *args: str) -> None:
        command = [sys.executable, "-m", "benchmarks.customize_peers.step", *args]
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        self.hardware = self._answer()

    def take(self, kind: str, count: int) -> dict[str, float]:
        """Take `count` steps; returns their seconds and the last loss."""
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
            raise SystemExit("a training process ended before it answered; its messages are above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main() -> None:
    """Run both trainers in turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of microsoft/react")
    parser.add_argument("--images", type=Path, help="a folder of JPEG photographs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two turns of one step, batch 16")
    args = parser.parse_args()
    if not (args.peer / "react_customization" / "src" / "training" / "train.py").is_file():
        parser.error(f"{args.peer} is no checkout of microsoft/react: it has no react_customization/src/training")
    batch, turns, count = (16, 2, 1) if args.quick else (args.batch, args.turns, 2)
    seconds: dict[str, list[float]] = {"peer": [], "with_augmentation": [], "with_kept_prefix": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_tars(work / "tars", batch * BATCHES, args.images)
        ours = Side("ours", folder, str(batch))
        peer = Side("peer", folder, str(batch), str(args.peer.resolve()))
        print(f"batch {batch}, {ours.hardware['threads']} threads, torch {ours.hardware['torch']}, float32")
        first = {"peer": peer.take("steps", 1)["loss"], "ours": ours.take("steps", 1)["loss"]}
        print(f"loss of the first step: {first['peer']:.6f} theirs, {first['ours']:.6f} ours", flush=True)
        ours.take("prefix", 1)
        for _ in range(turns):
            for name, side, kind in (
                ("peer", peer, "steps"),
                ("with_augmentation", ours, "steps"),
                ("with_kept_prefix", ours, "prefix"),
            ):
                seconds[name].append(side.take(kind, count)["seconds"] / count)
        peer.close()
        loading: dict[str, list[float]] = {"tars": [], "steps": []}
        ours.take("tars", 4)  # so that the loader's queue is full
        for _ in range(turns):
            for kind, taken in loading.items():
                taken.append(ours.take(kind, count)["seconds"] / count)
        ours.close()
    report(batch, seconds, loading, same=abs(first["peer"] - first["ours"]) < FIRST_LOSS_WITHIN)


def report(batch: int, seconds: dict[str, list[float]], loading: dict[str, list[float]], *, same: bool) -> None:
    """Print both tables and the JSON line."""
    rates = {name: batch / statistics.median(taken) for name, taken in seconds.items()}
    print(f"{'':20} samples/s  over the peer's  target")
    for name, rate in rates.items():
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        print(f"{name:20} {rate:9.2f}  {rate / rates['peer']:15.2f}  {target:>6}")
    from_tars, from_memory = (statistics.median(loading[kind]) for kind in ("tars", "steps"))
    print(f"a step from tars {from_tars:.2f} s, from memory {from_memory:.2f} s")
    ratios = {name: round(rates[name] / rates["peer"], 3) for name in TARGETS}
    figures = {
        **ratios,
        "tars_over_memory": round(from_tars / from_memory, 3),
        "samples_per_second": {name: round(rate, 3) for name, rate in rates.items()},
        "same_loss": same,
    }
    holds = same and all(ratios[name] >= target for name, target in TARGETS.items())
    holds = holds and from_tars / from_memory <= LOADING_TARGET
    targets = {**TARGETS, "tars_over_memory": LOADING_TARGET}
    print(json.dumps({"name": "customize_peers", "figures": figures, "targets": targets, "holds": holds}))


def write_tars(folder: Path, count: int, images: Path | None) -> None:
    """Write `count` JPEGs, each with a caption of its own, as two tars."""
    from scenes.tars import write_tar

    pictures = _photographs(images, count) if images is not None else _drawn(count)
    for number, half in enumerate((count // 2, count - count // 2)):
        some = enumerate(itertools.islice(pictures, half))
        samples = ((f"{number:05d}{at:04d}", {"jpg": data, "txt": text.encode()}) for at, (text, data) in some)
        write_tar(folder / f"{number:05d}.tar", samples)


def _photographs(folder: Path, count: int) -> Iterator[tuple[str, bytes]]:
    files = sorted(folder.glob("*.jp*g"))
    if not files:
        raise SystemExit(f"{folder} has no JPEG")
    for number in range(count):
        file = files[number % len(files)]
        yield f"photograph {number}, {file.stem.replace('_', ' ')}", file.read_bytes()


def _drawn(count: int) -> Iterator[tuple[str, bytes]]:
    import numpy as np
    from PIL import Image

    from scenes.drawing.render import render
    from scenes.language.captions import captions
    from scenes.world.sample import sample

    rng = np.random.default_rng(0)
    for number in range(count):
        scene = sample("validation", number)
        large = np.asarray(Image.fromarray(render(scene).image).resize((500, 375)), np.int16)
        noisy = np.clip(large + rng.integers(-20, 21, large.shape, dtype=np.int16), 0, 255).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(noisy).save(data, "JPEG", quality=90)
        yield f"{number}: {captions(scene).clean[0]}", data.getvalue()


if __name__ == "__main__":
    main()
