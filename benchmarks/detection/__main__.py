"""Does a customized CLIP make a better open-vocabulary detector (the last rows of the thesis's table 2.4)?

Run as: python -m benchmarks.detection [--quick] [--work DIR] [--threads N]

The world is the scenes' easy one, of 38 types. Eight are novel: nine of ten scenes that show them are kept from the
pretraining of a small ResNet CLIP, and no detector sees their boxes. The CLIP is customized with locked text on pairs
that it retrieves for the novel types' names from a pool, which holds the scenes that were kept from it. Detectors are
trained from both on boxes of the 30 base types, with several seeds, and tested on all types together: AP50 of base,
novel and all, and the differences, paired over seeds, with Student's 95% intervals.

--quick takes about a minute and shows only that everything runs. The last line is JSON. With --work, what is finished
is kept, and a run that was stopped continues.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from index.errors import ClipmineError

THESIS = {"base": 2.3, "novel": 6.4, "all": 3.4}  # table 2.4, points from CLIP to REACT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few scenes, one seed, few steps: about a minute")
    parser.add_argument("--work", help="keep data, models and results in this folder, so that a stopped run continues")
    parser.add_argument("--threads", type=int, help="threads of the computation (default: torch's)")
    args = parser.parse_args()
    import torch

    from benchmarks.detection.arms import customized, detectors
    from benchmarks.detection.clip import train_clip
    from benchmarks.detection.tables import differences, table
    from benchmarks.detection.world import Plan, World

    if args.threads:
        torch.set_num_threads(args.threads)
    plan = Plan.quick() if args.quick else Plan()
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(args.work or folder) / plan.name, plan)
        print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores", flush=True)
        world.draw()
        say(f"{plan.scenes} scenes of the pool, {plan.boxes} with boxes to train on, {plan.tested} to test on")
        base = train_clip(world)
        say("the CLIP is trained")
        react = customized(world, base)
        say("the CLIP is customized")
        results = detectors(world, {"CLIP": base, "REACT": react}, say)
        world.write("results.json", results)
    print(f"\n{table(results)}\n")
    found = differences(results)
    for name, each in found.items():
        spread = "" if each.half is None else f" ± {each.half:.1f}"
        print(f"{name}: {each.mean:+.1f}{spread} points; the thesis: {THESIS[name]:+.1f}")
    shown = {name: [each.mean, each.half] for name, each in found.items()}
    figures = {"results": results, "differences": shown, "seconds": round(time.monotonic() - started, 1)}
    holds = all(found[name].mean > 0 for name in ("novel", "all"))
    print(json.dumps({"name": "detection", "figures": figures, "targets": THESIS, "holds": holds}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClipmineError as error:
        sys.exit(f"error: {error}")
