"""Embedding: rows/s of the whole job beside the bare image and text encoders on tensors in memory.

Run as: python -m benchmarks.embed_overhead [--quick]

The job reads tars, decodes and scales JPEGs, tokenizes, encodes, hashes and writes a part of the store; the bare
encoders get the same rows as ready tensors in batches of the same size. Both run in this process with the same threads
and take turns, and the median of the ratios of neighbouring runs counts: the steady state, without the start of
processes. Where other programs use the cores too, the ratio of processor time tells more. The first model is a ViT-B-32
with random weights on 256 x 256 images, the second the small CLIP of the embedded world on its 96 x 96 images, where
decoding is a larger share. For the small CLIP the steps other than encoding are also timed alone, to see which one
limits it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    import numpy as np
    import numpy.typing as npt
    import torch

    from index.corpus.samples import Sample, ShardItem
    from index.encoder.clip_encoder import Encoder
    from index.encoder.model_spec import ModelSpec

ROOT = Path(__file__).resolve().parent.parent
TARGET = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds: about two minutes on 2 cores")
    quick = parser.parse_args().quick

    import torch

    from index.encoder.model_spec import ModelSpec

    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        vit = ModelSpec("ViT-B-32", random_seed=0)
        small = ModelSpec(model_dir=str(ROOT / "scenes" / "models" / "clip"))
        # As many batches in both: the job reads and decodes the first one while no other is encoded.
        rows, batch, rounds = (32, 8, 3) if quick else (256, 64, 7)
        figures |= compare("vit_b_32", vit, Path(folder) / "large", 256, rows, batch, rounds)
        rows, batch, rounds = (256, 16, 5) if quick else (1024, 64, 11)
        figures |= compare("small_clip", small, Path(folder) / "small", 96, rows, batch, rounds)
        figures |= steps(small, Path(folder) / "small")
    targets = {"vit_b_32_ratio": TARGET}
    holds = figures["vit_b_32_ratio"] >= TARGET
    print(json.dumps({"name": "embed_overhead", "figures": figures, "targets": targets, "holds": holds}))
    return 0


def compare(
    name: str, model: ModelSpec, folder: Path, size: int, rows: int, batch: int, rounds: int
) -> dict[str, float]:
    """Rows/s of the job and of the bare encoders, and their ratio.

    Args:
        size: pixels of an image's side.
        batch: images that are encoded together.
        rounds: turns of each.
    """
    from index.corpus.sources import list_items
    from index.encoder.loading import load_encoder
    from index.store.embed_item import EmbedConfig, embed_item
    from scenes.tars import write_split

    corpus = folder / "corpus"
    write_split("corpus", corpus, rows, shard_size=rows, size=size, progress=lambda _: None)
    config = EmbedConfig(str(corpus), str(folder / "store"), model, batch_size=batch)
    (item,) = list_items(str(corpus))
    encoder = load_encoder(model)
    pixels, tokens = in_memory(encoder, item)

    def job() -> None:
        assert embed_item(item, config).rows == rows

    def bare() -> None:
        for start in range(0, rows, batch):
            encoder.encode_pixels(pixels[start : start + batch])
            encoder.encode_tokens(tokens[start : start + batch])

    bare()  # the first call also allocates memory and starts threads
    job_times: list[tuple[float, float]] = []
    bare_times: list[tuple[float, float]] = []
    for number in range(rounds):
        for call, times in ((job, job_times), (bare, bare_times))[:: 1 if number % 2 else -1]:
            before = time.process_time()
            times.append((timed(call), time.process_time() - before))
    ratios = [[bare_times[turn][kind] / job_times[turn][kind] for turn in range(rounds)] for kind in (0, 1)]
    return {
        f"{name}_ratio": round(statistics.median(ratios[0]), 3),
        f"{name}_ratio_of_processor_time": round(statistics.median(ratios[1]), 3),
        f"{name}_job_rows_per_second": round(rows / statistics.median(wall for wall, _ in job_times), 1),
        f"{name}_bare_rows_per_second": round(rows / statistics.median(wall for wall, _ in bare_times), 1),
    }


def in_memory(encoder: Encoder, item: ShardItem) -> tuple[npt.NDArray[np.uint8], torch.Tensor]:
    """An item's rows as the encoders take them: pixels [n, h, w, 3] and token ids [n, context]."""
    import numpy as np

    from index.corpus.image_decoding import decode_image

    samples = samples_of(item)
    pixels = np.stack([encoder.to_pixels(decode_image(sample.image)) for sample in samples])
    return pixels, encoder.tokenize([sample.caption for sample in samples]).ids


def samples_of(item: ShardItem) -> list[Sample]:
    """The samples of an item; drawn corpora have no rejects."""
    from index.corpus.samples import Sample
    from index.corpus.sources import read_item

    return [entry for entry in read_item(item) if isinstance(entry, Sample)]


def steps(model: ModelSpec, folder: Path) -> dict[str, float]:
    """Rows/s of each step other than encoding, alone on one thread; the slowest one limits a small model."""
    from index.corpus.image_decoding import decode_image
    from index.corpus.sources import list_items
    from index.encoder.loading import load_encoder

    encoder = load_encoder(model)
    (item,) = list_items(str(folder / "corpus"))
    samples = samples_of(item)
    images = [decode_image(sample.image) for sample in samples]
    work: dict[str, Callable[[], object]] = {
        "read": lambda: samples_of(item),
        "decode": lambda: [decode_image(sample.image) for sample in samples],
        "scale": lambda: [encoder.to_pixels(image) for image in images],
        "tokenize": lambda: encoder.tokenize([sample.caption for sample in samples]),
    }
    return {f"small_clip_{name}_rows_per_second": round(len(samples) / timed(call)) for name, call in work.items()}


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
