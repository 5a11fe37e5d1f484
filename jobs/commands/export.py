"""`clipmine export`: a selection in; webdataset tars (a work item a tar, on any executor) or a URL list out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobs.options import executor_options, output_options, refuse_without_effect, shard_size_option
from jobs.summary import Line, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from retrieval.export.export import ExportSummary, Format
    from retrieval.export.tars import ExportConfig


@click.command
@click.argument("selection")
@click.option("--out", required=True, metavar="DIR", help="Folder for the tars or the list.")
@click.option(
    "--format",
    type=click.Choice(["webdataset", "urls", "csv"]),
    default="webdataset",
    show_default=True,
    help="webdataset: tars with the images; urls, csv: a table of URLs, as Parquet or CSV.",
)
@shard_size_option("Images a tar.")
@click.option(
    "--reencode",
    type=click.Choice(["jpg", "png"]),
    help="Write images so whose format trainers drop (avif, gif, tif, bmp).  [default: leave them as they are]",
)
@click.option("--store", metavar="STORE", help="The selection's store, if it was moved.")
@executor_options()
@output_options
def command(
    selection: str,
    out: str,
    format: Format,
    shard_size: int,
    reencode: str | None,
    store: str | None,
    executor: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write a SELECTION as webdataset tars in img2dataset's layout, or as a URL list that img2dataset downloads.

    Rows that the store forgot are left out. Run again after rows were forgotten, it writes what holds them again.
    """
    if format != "webdataset":
        refuse_without_effect(["shard_size", "reencode", "executor", "workers"], f"with --format {format}")
    with only_summary_on_stdout():
        from jobs.folders import refuse_other_folder

        refuse_other_folder(selection, "a selection")
        from retrieval.export.tars import ExportConfig

        config = ExportConfig(selection, out, store, shard_size, reencode)
        summary = _export(config, format, executor, workers)
    lines: list[Line] = [("rows selected", summary.asked)]
    lines += [(f"- {reason}", count) for reason, count in summary.left_out.items()]
    lines += [("rows exported", summary.exported), ("written to", summary.out)]
    lines += [("left out", name) for name in summary.named]
    if summary.not_loaded:
        counts = ", ".join(f"{count:,} {name}" for name, count in summary.not_loaded.items())
        lines.append(("formats", f"{counts}: open_clip's loader drops these; --reencode jpg writes them as JPEG"))
    print_summary(summary, lines, as_json=as_json)


def _export(config: ExportConfig, format: Format, executor: str, workers: int | None) -> ExportSummary:
    """Export to the folder `config.out`; run again after an interruption, it writes the shards that are missing."""
    from index.outputs import only_writer, unused_claim_released
    from jobs.executors.execute import execute
    from jobs.places import with_absolute
    from jobs.shared_storage import SharedFolder
    from retrieval.export.export import CLAIM, export_selection, finish_export, prepare_export
    from retrieval.export.tars import export_item, list_export_items, undone_items

    if format != "webdataset":
        with only_writer(config.out):
            return export_selection(config.selection, config.out, format=format, store=config.store)
    config = with_absolute(config, "selection", "out", "store", executor=executor)
    list_export_items(config)  # refuses what cannot be exported before the folder is claimed
    with only_writer(config.out), unused_claim_released(config.out, CLAIM):
        if not prepare_export(config):
            shared, waiting = SharedFolder(config.out), undone_items(config)
            execute(executor, export_item, waiting, config, workers=workers, shared=shared, label="export")
        return finish_export(config)
