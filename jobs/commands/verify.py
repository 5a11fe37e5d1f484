"""`clipmine verify`: are the files of a store and of its indexes what they were when they were written?"""

from __future__ import annotations

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

_SHOWN = 20  # problems on the screen; --json has all


@click.command
@click.argument("store")
@output_options
def command(store: str, as_json: bool) -> int | None:
    """Read every file of STORE, its indexes and near-duplicate groups, and name those that are not what was written.

    For each it says what to do.

    Checksums are compared; of adopted files without one, samples are (`clipmine adopt STORE --checksums` records them).

    Exit status: 0 when nothing differs, 1 when something does, 2 when STORE is not a store.
    """
    with only_summary_on_stdout():
        from index.sizes import show_bytes
        from index.verify import verify_store
        from jobs.commands.adopt import describe_odd
        from jobs.progress import Progress

        with Progress("verify", unit="files") as progress:
            report = verify_store(store, on_progress=progress.reach)
    lines: list[Line] = [("files read", report.files), ("size", show_bytes(report.size))]
    if report.sampled:
        lines.append(("compared by sample", report.sampled))
    if report.unknown:
        lines.append(("compared by size", report.unknown))
    lines += [("odd vectors", describe_odd(odd)) for odd in report.odd_vectors[:_SHOWN]]
    lines.append(("files that differ", len(report.problems)))
    for problem in report.problems[:_SHOWN]:
        part = f" (part {problem.part})" if problem.part is not None else ""
        lines += [("-", f"{problem.file}{part}: {problem.what}"), ("", f"to do: {problem.remedy}")]
    if len(report.problems) > _SHOWN:
        lines.append(("-", f"and {len(report.problems) - _SHOWN:,} more, which --json lists"))
    without = report.sampled + report.unknown
    next_step = f"clipmine adopt {store} --checksums" if without and not report.problems else None
    print_summary(report, lines, as_json=as_json, next_step=next_step)
    if not report.problems:
        return None
    named = f"{len(report.problems):,} files are" if len(report.problems) > 1 else "1 file is"
    first = report.problems[0]
    click.echo(f"clipmine: {named} not what was written into {store} (the first is {first.file})", err=True)
    return 1
