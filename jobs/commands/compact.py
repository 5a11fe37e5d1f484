"""`clipmine compact`: the forgotten rows of a store are erased from its files."""

from __future__ import annotations

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("store")
@output_options
def command(store: str, as_json: bool) -> None:
    """Erase the forgotten rows of STORE from its files, in place.

    Their vectors become zeros and their metadata nulls. The disk may keep the old bytes until it reuses the space.

    Row counts and row ids do not change, and indexes stay valid. `clipmine index` then builds those shards again that
    hold erased vectors. Run again after an interruption, it rewrites the parts that are left.
    """
    with only_summary_on_stdout():
        from index.store.compact import compact_store

        report = compact_store(store)
    lines: list[Line] = [
        ("rows erased", report.rows),
        ("parts rewritten", report.parts),
    ]
    next_step = f"clipmine index {store}" if report.rows else None
    print_summary(report, lines, as_json=as_json, next_step=next_step)
