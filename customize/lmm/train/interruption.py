"""Ctrl-C during a step: the step ends and a checkpoint is written before the program does, so no step is repeated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interruption", "noted_interruption"]


class Interruption:
    """asked: whether there was a Ctrl-C. A second one stops the program at once."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def noted_interruption(enabled: bool = True) -> Iterator[Interruption]:
    """Note a Ctrl-C instead of raising KeyboardInterrupt, until the block ends.

    Nothing changes where it is not `enabled`, outside the main thread, and where SIGINT is ignored, as under `nohup`.
    """
    found = Interruption()
    former: Any = signal.getsignal(signal.SIGINT)
    if not enabled or threading.current_thread() is not threading.main_thread() or not callable(former):
        yield found
        return

    def note(number: int, frame: FrameType | None) -> None:
        if found.asked:
            former(number, frame)
        found.asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, former)
