"""Ctrl-C that is never lost.

Python raises KeyboardInterrupt wherever the program happens to be, and some packages catch it while they are being
imported. So a Ctrl-C is also remembered, and a job checks between its items whether there was one.
"""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["note_interrupts", "stop_if_interrupted"]

_noted = False


def note_interrupts() -> None:
    """Remember a Ctrl-C from here on; nothing changes where SIGINT is ignored, as under `nohup`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt if there was a Ctrl-C, even one that a package caught."""
    if _noted:
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    global _noted
    _noted = True
    signal.default_int_handler(number, frame)
