"""Run the command while its memory is sampled, and describe the sets that it wrote."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

__all__ = ["described", "run_measured"]


def described(folder: Path, wanted: int) -> dict[str, float]:
    """Print sets and images a level; returns the share of the wanted sets that were made, and how many images."""
    summary = json.loads((folder / "manifest.json").read_text())["strategies"][0]
    members = pq.read_table(folder / "members", columns=["row_id"])["row_id"].to_numpy().reshape(-1, 2)
    levels = pq.read_table(folder / "sets", columns=["level"])["level"].to_numpy()
    for note in summary["notes"]:
        print(note)
    for level in np.unique(levels):
        own = members[levels == level]
        print(
            f"level {level:>2}: {len(own):>7,} sets of {summary['supply'][str(level)]:>9,} proposed, "
            f"{len(np.unique(own)):>7,} images"
        )
    print(f"made {len(levels):,} of {wanted:,}; dropped {summary['dropped']}, spare {summary['spare']:,}")
    return {
        "share_made": round(len(levels) / wanted, 4),
        "images": len(np.unique(members)),
        "most_sets_of_an_image": int(np.unique(members, return_counts=True)[1].max(initial=0)),
        **{f"level_{level}": int((levels == level).sum()) for level in np.unique(levels).tolist()},
    }


def run_measured(command: list[str]) -> tuple[float, float, float]:
    """Run the command; (seconds, peak PSS in GB, peak anonymous memory in GB) of its processes together."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    memory = anonymous = 0.0
    while process.poll() is None:
        sizes = [proportional_and_anonymous(pid) for pid in tree(process.pid)]
        memory = max(memory, sum(each for each, _ in sizes))
        anonymous = max(anonymous, sum(each for _, each in sizes))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit status {process.returncode}")
    return time.perf_counter() - started, memory / 1e6, anonymous / 1e6


def tree(root: int) -> list[int]:
    """The process and all that it started, directly or not."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def proportional_and_anonymous(pid: int) -> tuple[float, float]:
    """kB in memory: with pages shared by n processes counted as 1/n, and without mapped files."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    found = {name: float(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    return found.get("Pss", 0.0), found.get("Pss_Anon", 0.0) + found.get("Pss_Shmem", 0.0)
