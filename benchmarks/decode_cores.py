"""Decoding: images/s of one core, by threads and by processes, and the cores that a GPU needs.

Run as: python -m benchmarks.decode_cores [--quick] [--images FOLDER] [--images-per-second 2500]

JPEGs whose shorter side has 256 or 512 pixels, in img2dataset's quality 95, are decoded and scaled to 224 and 336
pixels: in this thread, by threads, and by processes that hand the pixels back (`index.corpus.decoders`). All run in
turns. Without --images they are drawn; photographs compress in another way, so give some of yours. Processor time is
what counts: other programs on the machine do not change it much.

How many images/s your GPU encodes is your input: measure it, or take it from a published figure for your model. It is
not measured here.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    from PIL import Image

    from index.corpus.decoders import Decoders, ScaledImage

SIDES, TARGETS = (256, 512), (224, 336)
AT_A_TIME = 2  # threads, and processes
# Beside decoding, a worker reads, tokenizes and hands batches to its GPU; `index.store.embed_item` keeps a core for it.
WORKERS_OWN = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and turns: about a minute")
    parser.add_argument("--images", type=Path, help="folder of photographs (JPEG) that are scaled down and used")
    parser.add_argument(
        "--images-per-second", type=float, default=2500, help="of the encoder on one GPU: your input (default 2500)"
    )
    args = parser.parse_args()

    from PIL import features

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{platform.machine()}, {cores} cores, libjpeg-turbo {features.version('libjpeg_turbo')}")
    count, turns = (48, 3) if args.quick else (128, 7)
    figures: dict[str, float] = {}
    print("side  pixels  KB/image  a core alone  threads  processes  hand-over us  cores a GPU")
    for side in SIDES:
        images = list(islice(encoded(args.images, side), count))
        for target in TARGETS:
            rates = measure(images, target, turns)
            needed = cores_needed(args.images_per_second, rates["process"])
            size = sum(map(len, images)) / len(images) / 1000
            print(
                f"{side:4}  {target:6}  {size:8.0f}  {rates['alone']:12.0f}  {rates['thread']:7.0f}  "
                f"{rates['process']:9.0f}  {rates['handover'] * 1e6:12.0f}  {needed:11}"
            )
            figures |= {f"{side}_to_{target}_{name}": round(value, 6) for name, value in rates.items()}
            figures[f"{side}_to_{target}_cores"] = needed
    print(
        f"images/s of one core's processor time; cores for a GPU that encodes {args.images_per_second:g} images/s, "
        f"which is your input and was not measured, {WORKERS_OWN} for the worker itself included"
    )
    print(json.dumps({"name": "decode_cores", "figures": figures, "targets": {}, "holds": True}))
    return 0


def cores_needed(images_per_second: float, a_core: float) -> int:
    """Cores of a worker whose GPU encodes so many images/s, where one core decodes `a_core` images/s."""
    return math.ceil(images_per_second / a_core) + WORKERS_OWN


def measure(images: list[bytes], target: int, turns: int) -> dict[str, float]:
    """Images a second of processor time in this thread, by threads and by processes, and what a hand-over costs.

    handover: seconds of this process's processor time for an image that another process decodes.
    """
    from index.corpus.decoders import Decoders, scale_image
    from index.corpus.image_decoding import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
    from index.encoder.scaling import Scaling

    scaling = Scaling((target, target))
    here = partial(scale_image, scale=scaling, max_bytes=MAX_IMAGE_BYTES, max_pixels=MAX_IMAGE_PIXELS)
    decoders = Decoders(scaling, MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS)
    spent: dict[str, list[float]] = {"alone": [], "thread": [], "process": [], "handover": []}
    with ThreadPoolExecutor(AT_A_TIME) as pool:

        def by_threads(decode: Callable[[bytes], ScaledImage]) -> float:
            start = time.process_time()
            for _ in pool.map(decode, images):
                pass
            return time.process_time() - start

        def alone() -> float:
            start = time.process_time()
            for image in images:
                here(image)
            return time.process_time() - start

        by_threads(decoders)  # starts the processes
        for _ in range(turns):
            spent["alone"].append(alone())
            spent["thread"].append(by_threads(here))
            before = children_seconds(decoders)
            spent["handover"].append(by_threads(decoders))
            spent["process"].append(spent["handover"][-1] + children_seconds(decoders) - before)
    seconds = {name: statistics.median(values) / len(images) for name, values in spent.items()}
    return {name: value if name == "handover" else 1 / value for name, value in seconds.items()}


def children_seconds(decoders: Decoders) -> float:
    """Processor time of the decoding processes so far (Linux: fields 14 and 15 of /proc/PID/stat)."""
    ticks = 0
    for process in decoders.processes():
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def encoded(folder: Path | None, side: int) -> Iterator[bytes]:
    """JPEGs of quality 95 whose shorter side has `side` pixels: of photographs, or drawn."""
    from PIL import Image

    from index.corpus.image_decoding import decode_image

    if folder is None:
        pictures = drawn(side)
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        pictures = (decode_image(path.read_bytes()) for path in paths)
    for picture in pictures:
        factor = side / min(picture.size)
        size = round(picture.width * factor), round(picture.height * factor)
        stream = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=95)
        yield stream.getvalue()


def drawn(side: int) -> Iterator[Image.Image]:
    """Pictures of 4:3 with detail of all sizes, as photographs have: noise whose amplitude grows with its scale."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    width, height = side * 4 // 3, side
    while True:
        total = np.zeros((height, width, 3), np.float32)
        for level in range(8):
            rough = chance.normal(0, 1, (max(2, height >> level), max(2, width >> level), 3)).astype(np.float32)
            for channel in range(3):
                layer = Image.fromarray(rough[:, :, channel]).resize((width, height), Image.Resampling.BICUBIC)
                total[:, :, channel] += np.asarray(layer) * 1.7**level
        yield Image.fromarray((total * 1.2 + 128).clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    raise SystemExit(main())
