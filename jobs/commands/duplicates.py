"""`clipmine duplicates`: groups of near-duplicate images, kept in the store."""

from __future__ import annotations

import click

from jobs.options import executor_options, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("store")
@click.option("--threshold", type=float, help="Cosine from which two images are near-duplicates.  [first: 0.94]")
@executor_options()
@output_options
def command(store: str, threshold: float | None, executor: str, workers: int | None, as_json: bool) -> None:
    """Group the near-duplicate images of STORE, and keep the groups in it.

    Two images share a group if their cosine is at least the threshold, or if a chain of such pairs leads from one to
    the other. `clipmine retrieve` and `clipmine mine` then compare only images of one group where they look for
    near-duplicates among many images.

    A store of more than 50,000 rows needs its image index, which finds each row's nearest rows. When STORE has grown
    and is indexed again, run this again: it searches the new rows only. Interrupted, it continues.
    """
    with only_summary_on_stdout():
        from index.duplicates.segments import DuplicatesConfig
        from jobs.duplicates_job import run_duplicates

        summary = run_duplicates(DuplicatesConfig(store, threshold), executor=executor, workers=workers)
    lines: list[Line] = [
        ("rows", summary.rows),
        ("- in groups of near-duplicates", summary.grouped),
        ("- alone", summary.alone),
    ]
    if summary.not_indexed:
        lines.append(("- not indexed yet", summary.not_indexed))
    lines += [
        ("groups", summary.groups),
        ("largest group", summary.largest),
        ("rows searched now", summary.searched),
        ("threshold", f"{summary.threshold:g}"),
    ]
    next_step = f"clipmine index {store}" if summary.not_indexed else None
    print_summary(summary, lines, as_json=as_json, next_step=next_step)
