"""Progress of a job on stderr: a bar on a terminal, a plain line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

# A log that gains a line every 10 s shows life and stays readable over days (8,640 lines a day).
LOG_SECONDS = 10.0
# What is reported as done this soon was kept from an earlier run, or is too quick to matter.
AT_ONCE_SECONDS = 0.2


class Progress:
    """Counts finished items and rows; `with Progress("embed", 12) as progress: progress.advance(rows=10_000)`.

    items: the total; 0 while it is unknown, until `reach` sets it. stream: stderr by default.

    Attributes:
        earlier: how much of `done` was done by an earlier run, which the time left is not computed from.
    """

    def __init__(
        self,
        label: str,
        items: int = 0,
        *,
        unit: str = "items",
        stream: TextIO | None = None,
        log_seconds: float = LOG_SECONDS,
    ) -> None:
        self.label = label
        self.items = items
        self.unit = unit
        self.done = self.earlier = 0
        self.rows = 0
        self._stream = stream or sys.stderr
        self._log_seconds = log_seconds
        self._started = self._logged = time.monotonic()
        self._bar = None
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=items, desc=label, unit=f" {unit}", file=self._stream, dynamic_ncols=True)

    def advance(self, *, rows: int = 0) -> None:
        """One more item is done, with its rows."""
        self.rows += rows
        self.reach(self.done + 1, self.items)

    def reach(self, done: int, items: int) -> None:
        """Show that `done` of `items` are finished."""
        if self._elapsed() < AT_ONCE_SECONDS:
            self.earlier = max(self.earlier, done)
        if self._bar is not None:
            if self.earlier > self._bar.initial:
                self._bar.initial = self._bar.n = self.done = self.earlier
            self._bar.total = items
            self._bar.set_postfix_str(self._rate(), refresh=False)
            self._bar.update(done - self.done)
        self.done, self.items = done, items
        if self._bar is not None:
            return
        if time.monotonic() - self._logged >= self._log_seconds or self.done == self.items:
            self._logged = time.monotonic()
            print(self.line(), file=self._stream, flush=True)

    def line(self) -> str:
        """The state as one line of a log."""
        parts = [f"{self.label}: {self.done:,}/{self.items:,} {self.unit}", self._rate()]
        if 0 < self.done < self.items:
            own = self.done - self.earlier or self.done
            parts.append(f"{duration(self._elapsed() / own * (self.items - self.done))} left")
        elif self.done:
            parts.append(f"took {duration(self._elapsed())}")
        return ", ".join(part for part in parts if part)

    def _rate(self) -> str:
        return f"{self.rows:,} rows, {self.rows / self._elapsed():,.0f} rows/s" if self.rows else ""

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)

    def __enter__(self) -> Progress:
        if self._bar is None:
            count = f"{self.items:,} {self.unit}" if self.items else "started"
            print(f"{self.label}: {count}", file=self._stream, flush=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Seconds as text: "0.8 s", "42 s", "3:07", "5:02:11"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
