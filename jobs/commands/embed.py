"""`clipmine embed`."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import executor_options, model_options, model_spec, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("source", metavar="SRC")
@click.option("--out", required=True, metavar="STORE", help="Folder for the store.")
@model_options
@executor_options()
@click.option("--batch-size", type=int, default=64, show_default=True, help="Images through the encoder at once.")
@click.option(
    "--shard-size", type=int, default=10_000, show_default=True, help="Images an item, of a folder or a URL table."
)
@click.option("--caption-pattern", metavar="PATTERN", help="Captions from file names: '{id}_{caption}'.")
@click.option("--caption-index", type=int, default=0, show_default=True, help="Which of several captions to embed.")
@click.option("--allow-empty-caption", is_flag=True, help="Keep images that have no caption.")
@click.option("--images", metavar="DIR", help="Where the images of a URL table go.  [default: STORE-images]")
@click.option("--url-column", default="url", show_default=True, help="Of a URL table.")
@click.option("--caption-column", default="caption", show_default=True, help="Of a URL table.")
@output_options
def command(source: str, as_json: bool, executor: str, workers: int | None, **rest: Any) -> None:
    """Embed SRC into a store: tars (a folder, a pattern), a folder of images, or a URL table (.parquet, .csv).

    A store that is there already goes on where it stopped, and knows its model.
    """
    naming = {name: rest.pop(name) for name in ("model", "pretrained", "model_dir", "random_weights", "precision")}
    table = {name: rest.pop(name) for name in ("images", "url_column", "caption_column")}
    spec = model_spec(**naming)
    with only_summary_on_stdout():
        from index.store.embed import EmbedConfig
        from jobs.embed_job import corpus_of, run_embed
        from jobs.models import model_for
        from jobs.progress import duration

        model = model_for(rest["out"], spec)
        corpus = corpus_of(source, rest["out"], **table, shard_size=rest["shard_size"])
        summary = run_embed(EmbedConfig(corpus, model=model, **rest), executor=executor, workers=workers)
    store = summary.store
    lines: list[Line] = [("samples read", store.read)]
    lines += [(f"- {reason}", count) for reason, count in store.rejected.items()]
    lines += [("rows in the store", store.rows), ("vectors", f"{store.dim} x fp16, image and text")]
    if store.captions_cut:
        lines.append(("captions cut", store.captions_cut))
    if store.duplicate_keys:
        lines.append(("repeated keys", store.duplicate_keys))
    if summary.items_skipped:
        lines.append(("items done before", summary.items_skipped))
    if summary.rows_embedded:
        rate = f"{summary.rows_embedded / summary.seconds:,.0f} rows/s"
        lines.append(("this run", f"{summary.rows_embedded:,} rows in {duration(summary.seconds)}, {rate}"))
    print_summary(summary, lines, as_json=as_json, next_step=f"clipmine index {rest['out']}")
