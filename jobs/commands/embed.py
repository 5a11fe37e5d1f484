"""`clipmine embed`: a corpus in, a store out; a table of URLs is downloaded first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from jobs.commands.download import download_lines
from jobs.options import (
    KEPT_OPTIONS,
    columns_option,
    executor_options,
    given,
    model_options,
    model_spec,
    output_options,
    refuse_without_effect,
    shard_size_option,
)
from jobs.summary import Line, only_summary_on_stdout, plain, print_summary

if TYPE_CHECKING:
    from index.corpus.samples import ShardItem
    from index.encoder.model_spec import ModelSpec

_TABLE_OPTIONS = ("images", "url_column", "caption_column", "keep_columns", "columns")
_KINDS_SHOWN = 8  # of files that were passed over


@click.command
@click.argument("source", metavar="SRC")
@click.option("--out", required=True, metavar="STORE", help="Folder for the store.")
@model_options
@executor_options()
@click.option("--device", help="Device of the encoder: cpu, cuda, ...  [default: the fastest available]")
@click.option("--batch-size", type=int, default=64, show_default=True, help="Images encoded at once.")
@click.option(
    "--decode-threads", type=click.IntRange(min=1), help="Threads a worker that decode images.  [default: by cores]"
)
@shard_size_option("Images a work item; of tars, each is one item.")
@click.option("--caption-pattern", metavar="PATTERN", help="Captions from file names: '{id}_{caption}'.")
@click.option("--caption-index", type=int, default=0, show_default=True, help="Which of several captions to embed.")
@click.option("--allow-empty-caption", is_flag=True, help="Keep images that have no caption.")
@click.option("--caption-field", metavar="NAME", help="Field of the json with the caption.  [default: caption]")
@click.option("--caption-encoding", metavar="NAME", help="Of captions that are not UTF-8, such as cp1252.")
@click.option(
    "--key-rule",
    type=click.Choice(["webdataset", "stem"]),
    default="webdataset",
    show_default=True,
    help="A tar member's key ends at the first dot of its name, or at the last.",
)
@click.option("--image-ext", metavar="EXT", multiple=True, help="A further extension of images, such as img.")
@click.option("--caption-ext", metavar="EXT", multiple=True, help="A further extension of caption files, such as cap.")
@click.option("--images", metavar="DIR", help="Folder for the images of a URL table.  [default: STORE-images]")
@click.option("--url-column", default="url", show_default=True, help="Column of a URL table with the URLs.")
@click.option("--caption-column", default="caption", show_default=True, help="Column of a URL table with the captions.")
@click.option(
    "--keep", "keep_columns", multiple=True, metavar="COLUMN", help="Keep this column of a URL table in `extra`."
)
@columns_option
@output_options
def command(source: str, as_json: bool, executor: str, workers: int | None, **rest: Any) -> None:
    """Embed SRC into a store: tars (a folder, a pattern), a folder of images, or a URL table (.parquet, .csv, .tsv).

    Run again with the same --out, it embeds what is missing or new; the model and how captions and keys are read are
    then the store's own.
    """
    naming = {name: rest.pop(name) for name in ("model", "pretrained", "model_dir", "random_weights", "precision")}
    table = {name: rest.pop(name) for name in _TABLE_OPTIONS}
    spec = model_spec(**naming)
    with only_summary_on_stdout():
        from index.store.embed import EmbedConfig
        from jobs.download_job import download_images, is_table, retry_command
        from jobs.embed_job import run_embed
        from jobs.progress import duration

        if not is_table(source):
            refuse_without_effect(_TABLE_OPTIONS, f"on {source}: a URL table's name ends in .parquet, .csv or .tsv")
        downloaded, again = None, ""
        model = _model_for(rest["out"], spec)
        rest |= _kept_options(rest["out"], rest)
        on_items = None if is_table(source) else _say_what_has_no_effect
        if is_table(source):
            folder = table.pop("images") or f"{rest['out'].rstrip('/')}-images"
            table["shard_size"] = rest["shard_size"]
            downloaded, again = download_images(source, folder, **table), retry_command(source, folder, **table)
            source = folder
        config = EmbedConfig(source, model=model, **rest)
        summary = run_embed(config, executor=executor, workers=workers, on_items=on_items)
    store = summary.store
    lines: list[Line] = [] if downloaded is None else download_lines(downloaded, again)
    lines.append(("samples read", store.read))
    lines += [(f"- {reason}", count) for reason, count in store.rejected.items()]
    only = store.without_caption == store.rows
    lines += [
        ("rows in the store", store.rows),
        ("vectors", f"{store.dim} x fp16, image{' only' if only else ' and text'}"),
    ]
    if store.without_caption:
        lines.append(("without caption", store.without_caption))
    if store.captions_cut:
        lines.append(("captions cut", store.captions_cut))
    if store.duplicate_keys:
        lines.append(("repeated keys", store.duplicate_keys))
    if store.passed_over:
        lines.append(("other files", sum(store.passed_over.values())))
        lines += [(f"- {kind}", count) for kind, count in _most_frequent(store.passed_over)]
    lines += [("note", remark) for remark in store.remarks]
    if summary.items_skipped:
        lines.append(("items done before", summary.items_skipped))
    if summary.rows_embedded:
        rate = f"{summary.rows_embedded / summary.seconds:,.0f} rows/s"
        lines.append(("this run", f"{summary.rows_embedded:,} rows in {duration(summary.seconds)}, {rate}"))
    shown = summary if downloaded is None else {**plain(summary), "table": plain(downloaded)}
    print_summary(shown, lines, as_json=as_json, next_step=f"clipmine index {rest['out']}")


def _say_what_has_no_effect(items: Sequence[ShardItem]) -> None:
    # Not refused, as a store that was embedded with it is continued with the same options only.
    if given(["shard_size"]) and items and items[0].kind == "tar":
        click.echo("clipmine: --shard-size has no effect on tars: each tar is one work item", err=True)


def _most_frequent(passed_over: Mapping[str, int]) -> list[tuple[str, int]]:
    """The kinds of files by their counts, the rest of many as one."""
    kinds = sorted(passed_over.items(), key=lambda entry: -entry[1])
    rest = sum(count for _, count in kinds[_KINDS_SHOWN:])
    return [*kinds[:_KINDS_SHOWN], *([("others", rest)] if rest else [])]


def _kept_options(store: str, now: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the store was begun with, without those that the user gives now; said where they differ."""
    from index.store.embed import begun_with

    begun = begun_with(store)
    names = [name for name in KEPT_OPTIONS if name in begun and not given([name])]
    kept = {name: begun[name] for name in names if begun[name] != _plain(now[name])}
    if kept:
        said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in kept.items())
        click.echo(f"clipmine: as {store} was begun with: {said}", err=True)
    return kept


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _model_for(store: str, named: ModelSpec | None) -> ModelSpec:
    """The model that the options name, else the store's own; BadInput when there is neither."""
    from index.errors import BadInput
    from index.store.store_model import known_model

    model = named or known_model(store)
    if model is None:
        raise BadInput(
            "which model? name one of open_clip's (--model ViT-B-32 --pretrained openai) or a folder (--model-dir DIR)"
        )
    return model
