"""Near-duplicates found by comparing clusters, beside comparing all pairs: the share that is found, and the time.

Run as: python -m benchmarks.near_duplicates [--quick] [--images N] [--probes P]

The vectors lie as CLIP's do (`benchmarks.synthetic_store`); one in ten is a copy of another image, at cosines spread
evenly from the limit to 1, as re-encoded, cropped and watermarked copies are. A pair counts as found when both images
are in one group.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LIMIT = 0.94
TARGETS = {"pairs found": 0.98, "times as fast": 2.0}
DIM, LATENT = 512, 32


def make_vectors(count: int) -> npt.NDArray[np.float16]:
    """Unit vectors [count, 512], the last tenth of which are copies of random others."""
    import numpy as np

    rng = np.random.default_rng(0)
    directions, gap = rng.normal(size=(LATENT, DIM)) / LATENT**0.5, rng.normal(size=DIM)
    wide = rng.normal(size=(count, LATENT)) @ directions + 0.2 * rng.normal(size=(count, DIM)) + gap
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    copies = count // 10
    source = unit[rng.integers(0, count - copies, copies)]
    # A step of length tan(angle) at a right angle to the vector gives the cosine cos(angle).
    step = rng.normal(size=(copies, LATENT)) @ directions
    step -= (step * source).sum(axis=1, keepdims=True) * source
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    cosine = rng.uniform(LIMIT, 1, (copies, 1))
    unit[-copies:] = cosine * source + np.sqrt(1 - cosine**2) * step
    vectors: npt.NDArray[np.float16] = unit.astype(np.float16)
    return vectors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60,000 images")
    parser.add_argument("--images", type=int, help="default: 200,000")
    parser.add_argument("--probes", type=int, help="clusters that an image is compared with (default: as mining does)")
    args = parser.parse_args()
    import numpy as np

    from index.duplicates.near_duplicates import PROBES, near_duplicate_groups, near_duplicate_pairs

    vectors = make_vectors(args.images or (60_000 if args.quick else 200_000))
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {len(vectors):,} x {DIM} float16")
    started = time.monotonic()
    groups = near_duplicate_groups(vectors, LIMIT, exact=0, probes=args.probes or PROBES)
    by_cells = time.monotonic() - started
    started = time.monotonic()
    pairs = [np.stack([one, other], axis=1) for one, other in near_duplicate_pairs(vectors, LIMIT, exact=len(vectors))]
    all_pairs = time.monotonic() - started
    true = np.concatenate(pairs)
    found = float((groups[true[:, 0]] == groups[true[:, 1]]).mean())
    sizes = np.bincount(groups)
    figures = {
        "images": len(vectors),
        "pairs": len(true),
        "pairs found": found,
        "seconds by cells": by_cells,
        "seconds for all pairs": all_pairs,
        "times as fast": all_pairs / by_cells,
        "largest group": int(sizes.max()),
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    for name, value in figures.items():
        print(f"{name:>24}: {value:,.3f}" if isinstance(value, float) else f"{name:>24}: {value:,}")
    holds = all(float(figures[name]) >= least for name, least in TARGETS.items())
    print(json.dumps({"name": "near_duplicates", "figures": figures, "targets": TARGETS, "holds": holds}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
