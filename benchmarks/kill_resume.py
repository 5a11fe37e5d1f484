"""Resuming: kills the embedding job at random moments and runs it again; the store must be byte-identical each time.

Run as: python -m benchmarks.kill_resume [--quick]

The reference store is made without interruption. In every trial the job starts with an empty folder and gets SIGKILL
after a time drawn uniformly from the length of the reference run. Every other time the whole process group is killed,
otherwise the parent alone, whose workers must not spoil the rerun. Then the same command runs to its end, and every
file is compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCENES, SHARD = 960, 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 kills instead of 20")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kills = 4 if args.quick else 20
    print(f"{platform.machine()}, {os.cpu_count()} cores; {SCENES} scenes in shards of {SHARD}, {kills} kills")
    from scenes.tars import write_split

    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        corpus, store = Path(folder) / "corpus", Path(folder) / "store"
        write_split("corpus", corpus, SCENES, shard_size=SHARD, progress=lambda _: None)
        started = time.monotonic()
        run(corpus, store)
        length = time.monotonic() - started
        expected = checksums(store)
        identical, unfinished = 0, 0
        for trial in range(kills):
            shutil.rmtree(store)
            moment, whole_group = rng.uniform(0, length), trial % 2 == 0
            finished = kill_at(corpus, store, moment, whole_group)
            markers = len(list(store.glob("done/*.json")))
            complete = (store / "manifest.json").exists()
            unfinished += not complete
            run(corpus, store)
            same = checksums(store) == expected
            identical += same
            who = "group" if whole_group else "parent"
            state = "had finished" if finished else f"{markers} items done"
            print(f"kill {trial + 1:2}: {who} at {moment:5.1f} s, {state}; rerun {'identical' if same else 'DIFFERS'}")
    figures = {"kills": kills, "identical": identical, "killed_before_the_end": unfinished, "files": len(expected)}
    targets = {"identical": kills}
    print(json.dumps({"name": "kill_resume", "figures": figures, "targets": targets, "holds": identical == kills}))
    return 0


def command(corpus: Path, store: Path) -> list[str]:
    """The embedding job as a user runs it, with the small CLIP."""
    model = str(ROOT / "scenes" / "models" / "clip")
    tool = str(Path(sys.executable).parent / "clipmine")
    return [tool, "embed", str(corpus), "--out", str(store), "--model-dir", model, "--workers", "2"]


def run(corpus: Path, store: Path) -> None:
    """Run the job to its end; raises CalledProcessError when it fails."""
    subprocess.run(command(corpus, store), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_at(corpus: Path, store: Path, moment: float, whole_group: bool) -> bool:
    """Start the job and send SIGKILL after `moment` seconds; True when the job had ended before."""
    quiet = subprocess.DEVNULL
    job = subprocess.Popen(command(corpus, store), stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        job.wait(moment)
        return True
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(job.pid, signal.SIGKILL)
        else:
            job.kill()
        job.wait()
        return False


def checksums(store: Path) -> dict[str, str]:
    """SHA-256 of every file of the store, by its path in the store."""
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    raise SystemExit(main())
