"""Running `clipmine` in tests: in a process of its own, or here, and reading the counts of its summary."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest

from jobs.cli import run

Run = Callable[..., list[str]]
Fails = Callable[..., tuple[str, int]]


def clipmine_command(*arguments: object) -> list[str]:
    """The command line that starts `clipmine` in a process of its own."""
    return [sys.executable, "-m", "jobs.cli", *map(str, arguments)]


def heed_ctrl_c() -> None:
    """In a child: a shell's background job ignores Ctrl-C, and so would everything that the tests start from there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_here(capture: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    """Run a command that must succeed in this process; returns the lines that it printed on stdout."""
    status = run([str(argument) for argument in arguments])
    captured = capture.readouterr()
    assert status == 0, captured.err
    return captured.out.splitlines()


def fail_here(capture: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, int]:
    """Run a command that must fail with one line on stderr; returns that line and the exit status."""
    status = run([str(argument) for argument in arguments])
    captured = capture.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("clipmine: ")]
    assert status != 0
    assert len(errors) == 1
    assert captured.err.rstrip().endswith(errors[0])
    assert captured.out == ""
    return errors[0], status


def counts(lines: list[str]) -> dict[str, int]:
    """The counts of a summary by their labels."""
    found = {}
    for line in lines:
        label, _, value = line.rpartition("  ")
        if value.replace(",", "").isdigit():
            found[label.strip()] = int(value.replace(",", ""))
    return found
