"""The summary that a command prints at its end: aligned lines for people, or JSON for machines."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import click

from index.errors import with_urls

Line = tuple[str, object]


@contextmanager
def only_summary_on_stdout() -> Iterator[None]:
    """Redirect what libraries and child processes print on stdout to stderr, so that stdout holds the summary only."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def print_summary(summary: Any, lines: Sequence[Line], *, as_json: bool, next_step: str | None = None) -> None:
    """Print `summary` (a dataclass) as JSON, or `lines` of label and value and what to run next."""
    if as_json:
        click.echo(json.dumps(plain(summary), ensure_ascii=False))
        return
    width = max(len(label) for label, _ in lines)
    digits = max((len(f"{value:,}") for _, value in lines if isinstance(value, int)), default=0)
    for label, value in lines:
        # Numbers are right-aligned, so that they are easy to add up.
        shown = f"{value:>{digits},}" if isinstance(value, int) else with_urls(str(value))
        click.echo(f"{label:<{width}}  {shown}")
    if next_step:
        click.echo(f"next: {with_urls(next_step)}")


def found_nothing(message: str) -> int:
    """Say on stderr that the command was done but its result is empty; returns its exit status."""
    click.echo(f"clipmine: {with_urls(message)}", err=True)
    return 1


def plain(value: Any) -> Any:
    """`value` as JSON types: dataclasses become objects, tuples lists, paths strings, numpy numbers plain numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return with_urls(os.fspath(value))
    if isinstance(value, str) and value.startswith("/"):
        return with_urls(value)
    return value.item() if hasattr(value, "item") else value
