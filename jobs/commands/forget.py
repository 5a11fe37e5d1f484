"""`clipmine forget`: rows of a store are hidden from all readers."""

from __future__ import annotations

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("store")
@click.option("--keys", metavar="FILE", help="Keys to forget, one a line; -: standard input.")
@click.option("--rows", metavar="FILE", help="Row ids to forget, one a line; -: standard input.")
@output_options
def command(store: str, keys: str | None, rows: str | None, as_json: bool) -> None:
    """Hide rows of STORE from searches, selections, exports and image sets at once; row ids do not change.

    `clipmine compact` then erases the vectors and metadata of these rows from the files. In FILE, empty lines and lines
    that start with # are skipped.
    """
    with only_summary_on_stdout():
        from index.errors import BadInput
        from index.store.embedding_store import EmbeddingStore
        from index.store.forget import forget_rows
        from jobs.lists import read_lines, read_numbers

        if keys is None and rows is None:
            raise BadInput("say what to forget: --keys FILE or --rows FILE")
        report = forget_rows(
            EmbeddingStore.open(store),
            keys=None if keys is None else read_lines(keys),
            row_ids=None if rows is None else read_numbers(rows),
        )
    lines: list[Line] = [("rows forgotten now", report.forgotten), ("forgotten before", report.already)]
    if report.unknown_keys:
        named = ", ".join(report.unknown_keys[:5])
        lines.append(("keys of no row", f"{len(report.unknown_keys):,}: {named}"))
    print_summary(report, lines, as_json=as_json, next_step=f"clipmine compact {store}")
