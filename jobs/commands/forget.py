"""`clipmine forget`: rows of a store are hidden from all readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from index.store.forget import ForgetReport
    from index.store.output_register import HoldingOutput

_SHOWN = 5  # entries that were not found, and outputs, on the screen; --json has all
# What erases forgotten rows from an output.
_REMEDIES = {
    "selection": "run the same `clipmine retrieve` again, it writes it without them",
    "export": "run the same `clipmine export` again, it writes it without them",
    "fetched images": "delete it and run `clipmine fetch` again",
    "image sets": "readers hide its sets with these; mine again into a new folder to erase them",
    "model": "was trained on them; train again without them",
}


@click.command
@click.argument("store")
@click.option("--keys", metavar="FILE", help="Keys to forget, one a line; -: standard input.")
@click.option("--urls", metavar="FILE", help="URLs of images to forget, one a line.")
@click.option("--sha256", metavar="FILE", help="SHA-256 sums of image files to forget, one a line, or from sha256sum.")
@click.option("--rows", metavar="FILE", help="Row ids to forget, one a line.")
@output_options
def command(
    store: str, keys: str | None, urls: str | None, sha256: str | None, rows: str | None, as_json: bool
) -> int | None:
    """Hide rows of STORE from searches, selections, exports and image sets at once; row ids do not change.

    `clipmine compact` then erases the vectors and metadata of these rows from the files. Outputs that hold these rows
    are named, as far as the store knows them.

    FILE may be what a spreadsheet saves: a header line, quotes, blanks, a byte-order mark, UTF-16 and repeated lines do
    no harm, and of a CSV or TSV table the column named key, url, sha256 or row_id is read. Empty lines and lines that
    start with # are skipped. Texts are compared exactly, but for blanks at their ends.

    Exit status: 0 when every entry was found, 1 when some were in no row (they are named; the others are forgotten), 2
    when none was.
    """
    with only_summary_on_stdout():
        from index.errors import BadInput
        from index.store.embedding_store import EmbeddingStore
        from index.store.forget import forget_rows
        from jobs import lists

        if keys is urls is sha256 is rows is None:
            raise BadInput("say what to forget: --keys FILE, --urls FILE, --sha256 FILE or --rows FILE")
        if [keys, urls, sha256, rows].count("-") > 1:
            raise BadInput("two lists cannot both be standard input (-); write one of them to a file")
        opened = EmbeddingStore.open(store)
        read = {"key": (keys, lists.KEYS), "url": (urls, lists.URLS), "sha256": (sha256, lists.SHA256)}
        columns = {name: lists.read_column(path, kind) for name, (path, kind) in read.items() if path is not None}
        texts = {name: column.entries for name, column in columns.items()}
        report = forget_rows(
            opened,
            keys=texts.get("key"),
            urls=texts.get("url"),
            sha256=texts.get("sha256"),
            row_ids=None if rows is None else lists.read_numbers(rows),
        )
    lines: list[Line] = [("rows forgotten now", report.forgotten), ("forgotten before", report.already)]
    lines += [("header skipped", column.header) for column in columns.values() if column.header is not None]
    unknown = _unknown(report)
    lines += [
        (f"{label} of no row", f"{len(entries):,}: {', '.join(entries[:_SHOWN])}") for label, entries in unknown.items()
    ]
    lines += [("still in", _held(output)) for output in report.outputs]
    print_summary(report, lines, as_json=as_json, next_step=f"clipmine compact {store}")
    if not unknown:
        return None
    count, first = sum(map(len, unknown.values())), next(iter(unknown.values()))[0]
    named = f"{count:,} entries are" if count > 1 else "1 entry is"
    click.echo(f"clipmine: {named} of no row of {store} (the first is {first!r:.200}); check the spelling", err=True)
    return 1


def _unknown(report: ForgetReport) -> dict[str, tuple[str, ...]]:
    """The entries that no row has, by their name."""
    found = {"keys": report.unknown_keys, "URLs": report.unknown_urls, "SHA-256 sums": report.unknown_sha256}
    return {label: entries for label, entries in found.items() if entries}


def _held(output: HoldingOutput) -> str:
    remedy = _REMEDIES.get(output.kind, "make it again")
    return f"{output.kind} {output.path}: {output.rows:,} {'row' if output.rows == 1 else 'rows'}; {remedy}"
