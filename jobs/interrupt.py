"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the program happens to be, and some packages swallow it while they are being
imported. So a first Ctrl-C is also noted, and a job asks between its items whether there was one.
"""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["note_interrupts", "stop_if_interrupted"]

_noted = False


def note_interrupts() -> None:
    """From here on remember a Ctrl-C. Does nothing where the caller ignores it, as `nohup` makes a program do."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt if there was a Ctrl-C that led nowhere."""
    if _noted:
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    global _noted
    _noted = True
    signal.default_int_handler(number, frame)
