"""`clipmine compact`."""

from __future__ import annotations

import click

from jobs.options import output_options
from jobs.summary import only_summary_on_stdout, print_summary


@click.command
@click.argument("store")
@output_options
def command(store: str, as_json: bool) -> None:
    """Erase the forgotten rows of STORE from its files: zero vectors and null metadata, in place.

    Counts and row ids stay. Indexes that hold erased vectors are built anew by `clipmine index`.
    """
    with only_summary_on_stdout():
        from index.store.forget import compact_store

        report = compact_store(store)
    lines: list[tuple[str, object]] = [("rows erased", report.rows), ("parts rewritten", report.parts)]
    print_summary(report, lines, as_json=as_json, next_step=f"clipmine index {store}" if report.rows else None)
