"""Runs img2dataset in a process of its own: `python -m index.corpus.img2dataset_process '{"url_list": ...}'`.

img2dataset takes over Ctrl-C, prints to stdout and leaves by `sys.exit(0)`; here it may. When the process that started
this one dies, its end of our standard input closes, and this process and its workers die too, so that a killed download
never goes on writing beside the next run.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import types


def _die_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _leave_out_unused_packages() -> None:
    """Keep packages from loading that img2dataset imports and does not use here: half of its 8 seconds of start.

    webdataset loads torch for loaders that a writer has no need of, and does without; wandb and ray are for logging and
    for the Ray distributor, both switched by argument.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's way to make an import fail
    sys.modules["wandb"] = types.ModuleType("wandb")
    if json.loads(sys.argv[1])["distributor"] != "ray":
        sys.modules["ray"] = None  # type: ignore[assignment]


class _NoLog:
    """In place of img2dataset's logger, a third process whose lines nobody reads: the parent counts finished shards."""

    def __init__(self, *arguments: object) -> None:
        self.done_shards: set[int] = set()

    def start(self) -> None: ...
    def join(self) -> None: ...
    def terminate(self) -> None: ...


def main() -> None:
    """Run `img2dataset.download` with the arguments in argv[1] (JSON)."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    module = importlib.import_module("img2dataset.main")  # the package hides it behind a function of the same name
    module.LoggerProcess = _NoLog  # type: ignore[attr-defined]
    module.download(**json.loads(sys.argv[1]))


if __name__ in ("__main__", "__mp_main__"):  # img2dataset's spawned workers import this module by the second name
    _leave_out_unused_packages()
if __name__ == "__main__":
    main()
