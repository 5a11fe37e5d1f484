"""Runs img2dataset in a process of its own: `python -m index.corpus.img2dataset_process '{"url_list": ...}' '{...}'`.

The first argument holds img2dataset's own, the second the fields of `FetchLimits`.

img2dataset replaces the handler of Ctrl-C, prints to stdout and ends with `sys.exit(0)`, which is harmless in a process
of its own. When the process that started this one dies, its end of our standard input closes; then this process and its
workers die too, so that a killed download never goes on writing beside the next run.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
import threading
import types
from pathlib import Path

from index.corpus.fetch_image import FetchLimits
from index.corpus.limited_downloader import LimitedDownloader
from index.corpus.ray_address import ray_address

JOIN_SECONDS = 60


def _die_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _block_unused_packages() -> None:
    """Keep img2dataset from loading packages that it imports and does not use here: half of its start of 8 seconds.

    webdataset loads torch for its loaders, which a writer does not need, and works without it. wandb and Ray are for
    logging and for the Ray distributor; an argument switches each off.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's way to make an import fail
    sys.modules["wandb"] = types.ModuleType("wandb")
    if json.loads(sys.argv[1])["distributor"] != "ray":
        sys.modules["ray"] = None  # type: ignore[assignment]


class _NoLog:
    """Replaces img2dataset's logger, a process whose output is not used: the parent counts finished shards instead."""

    def __init__(self, *arguments: object) -> None:
        self.done_shards: set[int] = set()

    def start(self) -> None: ...
    def join(self) -> None: ...
    def terminate(self) -> None: ...


def join_ray(address: str) -> None:
    """Join the Ray cluster at `address`, or start one ("local"); end this process with one line where that fails.

    Ray waits for ever for a port that accepts connections and is not Ray's.
    """
    import ray

    own = address == "local"
    deadline = threading.Timer(
        JOIN_SECONDS, _give_up, [address, f"no Ray cluster answers there within {JOIN_SECONDS} s"]
    )
    deadline.daemon = True
    if not own:
        deadline.start()
    # The nodes of a cluster may not have this package, whose downloader the tasks run.
    folder = str(Path(__file__).resolve().parents[1])
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")  # a job's own environment may have one of its fields
    try:
        ray.init(address=address, runtime_env=None if own else {"py_modules": [folder]})
    except (ConnectionError, RuntimeError, ValueError) as error:
        if own:
            raise
        _give_up(address, f"the cluster there was not joined: {' '.join(str(error).split())}")
    deadline.cancel()


def _give_up(address: str, why: str) -> None:
    print(f"RAY_ADDRESS {address}: {why}", flush=True)
    os._exit(1)


def main() -> None:
    """Run `img2dataset.download` with the arguments in argv[1] and the limits in argv[2] (JSON)."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    arguments = json.loads(sys.argv[1])
    if arguments["distributor"] == "ray":
        join_ray(ray_address())
    module = importlib.import_module("img2dataset.main")  # the package hides it behind a function of the same name
    module.LoggerProcess = _NoLog  # type: ignore[attr-defined]
    limits = FetchLimits(**json.loads(sys.argv[2]))
    module.Downloader = functools.partial(LimitedDownloader, limits)  # type: ignore[attr-defined]
    module.download(**arguments)


if __name__ in ("__main__", "__mp_main__"):  # img2dataset's spawned workers import this module by the second name
    _block_unused_packages()
if __name__ == "__main__":
    main()
