"""`clipmine adopt`: a store that clip-retrieval or LAION wrote gets a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobs.options import model_options, model_spec, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from index.store.vectors import OddVectors

_SHOWN = 5  # files with odd rows on the screen; --json has all


@click.command
@click.argument("store")
@click.option("--checksums", is_flag=True, help="Record the SHA-256 of every file too, for `clipmine verify`.")
@model_options
@output_options
def command(store: str, checksums: bool, as_json: bool, **naming: Any) -> None:
    """Adopt STORE, a folder that clip-retrieval wrote (img_emb/, text_emb/, metadata/), and show what it holds.

    Writes manifest.json only. Name the model that made the vectors, so that queries can be encoded with it.

    Every vector is read once. Rows with inf or NaN are never returned; rows of another length than 1 are normalised
    when they are read. Run again after parts were added or replaced, it reads those only.
    """
    spec = model_spec(**naming)
    with only_summary_on_stdout():
        from index.store.adopt import adopt_store
        from index.store.store_model import remember_model
        from jobs.progress import Progress

        with Progress("adopt", unit="vectors") as progress:
            report = adopt_store(store, spec, checksums, on_progress=progress.reach)
        if spec is not None:
            remember_model(store, spec)
    lines: list[Line] = [
        ("rows", report.rows),
        ("parts", report.parts),
        ("vectors", f"{report.dim} x {report.dtype}, {'image and text' if report.has_text else 'image only'}"),
        ("unit length", "yes" if report.unit_length else "not all: readers normalise them"),
        ("model", report.model.get("name", "unknown")),
        ("columns", ", ".join(f"{ours} ({own})" if ours != own else ours for ours, own in report.columns.items())),
    ]
    if report.other_columns:
        lines.append(("other columns", ", ".join(report.other_columns)))
    if report.parts_read < report.parts:
        lines.append(("parts read now", report.parts_read))
    counts = {"zero vectors": report.zero_rows, "with inf or NaN": report.not_finite_rows}
    counts |= {"of another length": report.not_unit_rows}
    lines += [(label, count) for label, count in counts.items() if count]
    lines += [("-", describe_odd(odd)) for odd in report.odd_vectors[:_SHOWN]]
    if len(report.odd_vectors) > _SHOWN:
        lines.append(("-", f"and {len(report.odd_vectors) - _SHOWN:,} more files, which --json lists"))
    if report.replaced:
        lines.append(("vectors replaced", f"in part {', '.join(report.replaced[:_SHOWN])}: index them again"))
    if report.missing_numbers:
        lines.append(("part numbers missing", ", ".join(map(str, report.missing_numbers[:10]))))
    print_summary(report, lines, as_json=as_json, next_step=f"clipmine index {store}")


def describe_odd(odd: OddVectors) -> str:
    """The odd rows of one file of vectors, as a line of a summary."""
    said = []
    if odd.not_finite:
        said.append(f"{odd.not_finite:,} with inf or NaN, the first is row {odd.first_not_finite:,}: never returned")
    if odd.not_unit and odd.lengths is not None:
        least, most = odd.lengths
        said.append(f"{odd.not_unit:,} of another length than 1 (all lengths are from {least:.3g} to {most:.3g})")
    return f"part {odd.part}, {odd.modality}: {'; '.join(said)}"
