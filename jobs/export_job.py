"""The export job: a selection in, webdataset tars (an item a shard, on any executor) or a URL list out."""

from __future__ import annotations

from jobs.executors.execute import check_executor, execute
from retrieval.export.export import ExportSummary, Format, export_selection, finish_export, prepare_export
from retrieval.export.tars import ExportConfig, export_item, is_export_item_done, list_export_items


def run_export(
    selection: str,
    out: str,
    *,
    format: Format = "webdataset",
    samples_per_shard: int = 10_000,
    store: str | None = None,
    executor: str = "local",
    workers: int | None = None,
) -> ExportSummary:
    """Export `selection` to the folder `out`; run again after an interruption, it writes the shards that are missing.

    Raises what `retrieval.export.export.export_selection` and `jobs.executors.execute.execute` raise.
    """
    check_executor(executor, workers)
    if format != "webdataset":
        return export_selection(selection, out, format=format, store=store)
    config = ExportConfig(selection, out, store, samples_per_shard)
    items = list_export_items(config)
    if not prepare_export(config):
        waiting = [item for item in items if not is_export_item_done(item, config)]
        execute(executor, export_item, waiting, config, workers=workers, label="export")
    return finish_export(config)
