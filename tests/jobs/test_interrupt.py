"""A Ctrl-C that a package swallows still stops the job."""

from __future__ import annotations

import subprocess
import sys

SWALLOWED = """
import os, signal
from jobs.interrupt import note_interrupts, stop_if_interrupted
note_interrupts()
stop_if_interrupted()
try:
    os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    print("swallowed")
stop_if_interrupted()
print("went on")
"""


def test_a_swallowed_interrupt_is_raised_between_items() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, check=False)
    assert done.stdout == "swallowed\n"
    assert "KeyboardInterrupt" in done.stderr
