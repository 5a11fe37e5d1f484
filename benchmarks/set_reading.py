"""An epoch of pairs streamed from tars, beside webdataset's own loader over the same tars.

Run as: python -m benchmarks.set_reading [--quick] [--images FOLDER] [--pairs N] [--workers N]

Both decode both images of a pair to RGB and cut the same tensor from them, shuffle 256 pairs at a time, and hand over
batches of 32 from as many DataLoader workers, with what is known of the pairs. Rounds of the two take turns; the figure
is the median of the rounds' ratios. The images are FOLDER's JPEGs, or drawn ones of 500 x 375 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

TARGETS = {"times webdataset": 0.9}
SIDE, BATCH = 224, 32


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 pairs, 5 rounds")
    parser.add_argument("--images", type=Path, help="a folder of JPEGs (default: drawn ones)")
    parser.add_argument("--pairs", type=int, help="default: 2,000")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    pairs, rounds = args.pairs or (500 if args.quick else 2_000), 5 if args.quick else 9
    with tempfile.TemporaryDirectory() as folder:
        root = args.images or draw_images(Path(folder) / "images", min(2 * pairs, 400))
        tars, size = write_tars(root, Path(folder), pairs)
        print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {pairs:,} pairs, {size / 1e6:,.0f} MB")
        ours, theirs = [], []
        for round_ in range(rounds + 1):
            both = [(stream(tars, round_), collate_ours), (webdataset_stream(tars), collate_theirs)]
            seconds = {}
            for place in (0, 1) if round_ % 2 else (1, 0):
                seconds[place] = timed(*both[place], args.workers, pairs)
            if round_:  # the first one reads the tars into the page cache
                ours.append(pairs / seconds[0])
                theirs.append(pairs / seconds[1])
                print(f"pairs a second: {ours[-1]:,.0f}; webdataset {theirs[-1]:,.0f}")
    ratios = [own / peer for own, peer in zip(ours, theirs, strict=True)]
    figures = {
        "pairs": pairs,
        "workers": args.workers,
        "pairs a second": statistics.median(ours),
        "webdataset, pairs a second": statistics.median(theirs),
        "times webdataset": statistics.median(ratios),
        "lowest ratio": min(ratios),
    }
    holds = all(float(figures[name]) >= least for name, least in TARGETS.items())
    print(json.dumps({"name": "set_reading", "figures": figures, "targets": TARGETS, "holds": holds}))
    return 0 if holds else 1


def draw_images(folder: Path, count: int) -> Path:
    """JPEGs of smooth shapes and noise, which compress as photographs do."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(small, np.int16) + rng.normal(0, 12, (375, 500, 3)).astype(np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04d}.jpg", quality=85)
    return folder


def write_tars(root: Path, folder: Path, pairs: int) -> tuple[Path, int]:
    """(the folder of tars of random pairs of the images below `root`, its bytes)."""
    import numpy as np

    from mining.export import to_webdataset
    from mining.sets.annotation import Annotation, Annotator, Turn
    from mining.sets.image_set import ImageSet, Member
    from mining.sets.sources import files_source
    from mining.sets.write_sets import ImageSetsWriter

    names = sorted(path.name for path in root.iterdir() if path.suffix in (".jpg", ".jpeg"))
    source = files_source("images", root, folder / "pairs")
    rng, sets = np.random.default_rng(0), []
    for number in range(pairs):
        chosen = rng.choice(len(names), 2, replace=False).tolist()
        members = tuple(Member(place, source.name, path=names[image]) for place, image in enumerate(chosen))
        said = (Turn("user", (0, 1, "What differs?")), Turn("assistant", ("Everything. " * 20,)))
        own = (Annotation.make(str(number), "comparison", Annotator("made"), said),)
        sets.append(ImageSet(str(number), "random", members, annotations=own))
    writer = ImageSetsWriter(folder / "pairs")
    writer.add_sets(sets)
    tars = folder / "tars"
    to_webdataset(writer.finish([source], {}), tars, sets_per_shard=125)
    return tars, sum(path.stat().st_size for path in tars.glob("*.tar"))


def cut(image: Any) -> Any:
    """uint8 [224, 224, 3]: the middle, so that all that is compared is reading and decoding."""
    import numpy as np
    import torch

    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return torch.from_numpy(np.array(image.crop((left, top, left + SIDE, top + SIDE))))


def stream(tars: Path, epoch: int) -> Any:
    """Our streaming data set over the tars."""
    from mining.export import torch_stream_tars

    found = torch_stream_tars(tars, cut)
    found.set_epoch(epoch)
    return found


def cut_sample(sample: Any) -> Any:
    """A sample of webdataset with the tensor of its images."""
    import torch

    return {**sample, "images": torch.stack([cut(sample[name].convert("RGB")) for name in sample["json"]["images"]])}


def webdataset_stream(tars: Path) -> Any:
    """webdataset's own data set over the same tars, with the same window of shuffling."""
    import webdataset

    names = sorted(str(path) for path in tars.glob("*.tar"))
    found = webdataset.WebDataset(names, shardshuffle=len(names), empty_check=False)
    return found.shuffle(256).decode("pil").map(cut_sample)


def collate_ours(samples: Any) -> Any:
    """A batch of our samples."""
    from mining.export import collate_sets

    return collate_sets(samples)


def collate_theirs(samples: Any) -> Any:
    """A batch of webdataset's samples."""
    import torch

    return {"images": torch.cat([each["images"] for each in samples]), "json": [each["json"] for each in samples]}


def timed(data: Any, collate: Any, workers: int, pairs: int) -> float:
    """Seconds for an epoch through a DataLoader, with the start of its workers."""
    from torch.utils.data import DataLoader

    started = time.monotonic()
    images = sum(len(batch["images"]) for batch in DataLoader(data, BATCH, num_workers=workers, collate_fn=collate))
    if images != 2 * pairs:
        raise RuntimeError(f"{images} images were read of {2 * pairs}")
    return time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main())
