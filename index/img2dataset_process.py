"""Runs img2dataset in a process of its own: `python -m index.img2dataset_process '{"url_list": ...}'`.

img2dataset takes over Ctrl-C, prints to stdout and leaves by `sys.exit(0)`; here it may. When the process that started
this one dies, its end of our standard input closes, and this process and its workers die too, so that a killed download
never goes on writing beside the next run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading


def _die_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Run `img2dataset.download` with the arguments in argv[1] (JSON)."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    from img2dataset import download

    download(**json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
