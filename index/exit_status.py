"""How a process ended, in words."""

from __future__ import annotations

import signal

__all__ = ["describe_exit"]


def describe_exit(status: int | None) -> str:
    """A process's exit status as Python gives it, negative for a signal: "exit status 3", "killed by SIGSEGV"."""
    if status is None or status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"killed by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")
