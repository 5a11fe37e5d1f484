"""`clipmine adopt`: a store that clip-retrieval or LAION wrote gets a manifest."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import model_options, model_spec, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("store")
@click.option("--checksums", is_flag=True, help="Read every file and record its SHA-256.")
@model_options
@output_options
def command(store: str, checksums: bool, as_json: bool, **naming: Any) -> None:
    """Adopt STORE, a folder that clip-retrieval wrote (img_emb/, text_emb/, metadata/), and show what it holds.

    Writes manifest.json only. Name the model that made the vectors, so that queries can be encoded with it.
    """
    spec = model_spec(**naming)
    with only_summary_on_stdout():
        from index.store.adopt import adopt_store
        from index.store.store_model import remember_model

        report = adopt_store(store, spec, checksums)
        if spec is not None:
            remember_model(store, spec)
    lines: list[Line] = [
        ("rows", report.rows),
        ("parts", report.parts),
        ("vectors", f"{report.dim} x {report.dtype}, {'image and text' if report.has_text else 'image only'}"),
        ("unit length", "yes" if report.unit_length else "no: readers normalise them"),
        ("model", report.model.get("name", "unknown")),
        ("columns", ", ".join(f"{ours} ({own})" if ours != own else ours for ours, own in report.columns.items())),
    ]
    if report.other_columns:
        lines.append(("other columns", ", ".join(report.other_columns)))
    if report.without_direction:
        lines.append(("zero vectors", f"{report.without_direction} of {report.sampled_rows} sampled"))
    if report.missing_numbers:
        lines.append(("part numbers missing", ", ".join(map(str, report.missing_numbers[:10]))))
    print_summary(report, lines, as_json=as_json, next_step=f"clipmine index {store}")
