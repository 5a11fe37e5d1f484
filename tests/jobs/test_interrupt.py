"""A Ctrl-C that a package swallows still stops the job."""

from __future__ import annotations

import subprocess
import sys

from tests.jobs.running import heed_ctrl_c

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


IGNORED = """
import os, signal
from jobs.interrupt import note_interrupts, stop_if_interrupted
signal.signal(signal.SIGINT, signal.SIG_IGN)
note_interrupts()
os.kill(os.getpid(), signal.SIGINT)
stop_if_interrupted()
print("went on")
"""


def test_an_interrupt_that_the_caller_ignores_stays_ignored() -> None:
    done = subprocess.run([sys.executable, "-c", IGNORED], capture_output=True, text=True, check=True)
    assert done.stdout == "went on\n"


def test_a_swallowed_interrupt_is_raised_between_items() -> None:
    command = [sys.executable, "-c", SWALLOWED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=heed_ctrl_c)
    assert done.stdout == "swallowed\n"
    assert "KeyboardInterrupt" in done.stderr
