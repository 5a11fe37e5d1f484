"""The jobs on tables of URLs and on corpora as Python functions, in the way of `jobs.api`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from jobs.api_arguments import Path, Precision, config_of, model_of, texts_of

if TYPE_CHECKING:
    from index.corpus.download import DownloadSummary
    from index.store import EmbeddingStore

__all__ = ["download", "embed"]


def download(
    table: Path | Any,
    out: Path,
    *,
    url_column: str = "url",
    caption_column: str = "caption",
    keep_columns: str | Iterable[str] = (),
    columns: Iterable[str] = (),
    shard_size: int = 10_000,
    retry_failed: bool = False,
    executor: str = "local",
    workers: int = 1,
    **options: Any,
) -> DownloadSummary:
    """Download a table of URLs and captions into webdataset tars in the folder `out`; called again, it continues.

    Args:
        table: a .parquet, .csv or .tsv file, a folder of them, or a data frame, which is written into the folder
            OUT-table first; see `embed`.
        url_column, caption_column: columns with the URLs and the captions.
        keep_columns: columns to copy into the json files, and so into `extra` of the metadata.
        columns: names of all columns of text files without a header.
        shard_size: images a tar.
        retry_failed: then try the rows again that failed temporarily.
        executor: "local" or "ray". workers: processes that download.
        options: fields of `index.corpus.download.DownloadOptions`: threads, timeout, retries, image_size, ...

    Raises:
        BadInput: a table or an option that cannot be used.
        OutputExists: `out` holds another download, OUT-table another frame.
        What `index.corpus.download.download_table` raises.
    """
    from index.corpus.download import DownloadOptions
    from jobs.download_job import run_download

    if executor not in ("local", "ray"):
        raise BadInput(f"downloads run on local or ray, not on {executor!r}")
    distributor = "ray" if executor == "ray" else "multiprocessing"
    fetching = config_of(DownloadOptions, options, processes=workers, distributor=distributor)
    choices: dict[str, Any] = {"url_column": url_column, "caption_column": caption_column}
    choices |= {"keep_columns": texts_of(keep_columns), "columns": tuple(columns)}
    path = _table_path(table, os.fspath(out), choices)
    return run_download(path, os.fspath(out), fetching, shard_size=shard_size, retry=retry_failed, **choices)


def embed(
    source: Path | Any,
    out: Path,
    *,
    model: str | ModelSpec | None = None,
    pretrained: str | None = None,
    model_dir: Path | None = None,
    random_weights: int | None = None,
    precision: Precision = "fp32",
    images: Path | None = None,
    url_column: str = "url",
    caption_column: str = "caption",
    keep_columns: str | Iterable[str] = (),
    columns: Iterable[str] = (),
    executor: str = "local",
    workers: int | None = None,
    **options: Any,
) -> EmbeddingStore:
    """Embed a corpus into the store `out` and open it; called again, it embeds what is missing or new.

    Args:
        source: tars (a folder, a pattern), a folder of images, or a table of URLs, which is downloaded first: a file
            (.parquet, .csv, .tsv), or a data frame of Spark, Ray Data, pandas, Polars or Arrow. A frame is written into
            the folder OUT-table first, by the workers of Spark or Ray; called again, its rows must be the same.
        out: folder of the store. One that exists is continued, with its own model and its own options.
        model, pretrained: open_clip's name and tag, such as "ViT-B-32" and "openai".
        model_dir: instead, a folder with open_clip_config.json and safetensors.
        random_weights: instead of `pretrained`, a seed. precision: "fp32", "fp16" or "bf16", to compute in.
        images: of a table, the folder for its images; OUT-images by default.
        url_column, caption_column, keep_columns, columns: of a table, as `download` takes them.
        executor: "local", "ray" or "spark". workers: items that run at once.
        options: other fields of `index.store.embed_item.EmbedConfig`: batch_size, shard_size, caption_pattern, ...

    Raises:
        BadInput: no model, an empty source, an unknown option; and what `jobs.embed_job.run_embed` raises.
        OutputExists: the store has other options, or a folder holds another frame or download.
    """
    from index.store import EmbeddingStore
    from index.store.embed import begun_with
    from index.store.embed_item import EmbedConfig
    from index.store.store_model import known_model
    from jobs.download_job import download_images, is_table
    from jobs.embed_job import run_embed
    from jobs.executors.execute import check_executor
    from jobs.frame_kinds import is_frame
    from jobs.options import KEPT_OPTIONS

    out = os.fspath(out)
    spec = model_of(model, pretrained, model_dir, random_weights, precision) or known_model(out)
    if spec is None:
        raise BadInput('which model? name one: model="ViT-B-32", pretrained="openai"; or model_dir="DIR"')
    check_executor(executor, workers)
    options = {name: value for name, value in begun_with(out).items() if name in KEPT_OPTIONS} | options
    of_table: dict[str, Any] = {"url_column": url_column, "caption_column": caption_column}
    of_table |= {"keep_columns": texts_of(keep_columns), "columns": tuple(columns)}
    folder = f"{out.rstrip('/')}-images" if images is None else os.fspath(images)
    if is_frame(source) or is_table(_path_of(source)):
        config = config_of(EmbedConfig, options, source=folder, out=out, model=spec)
        _refuse_connect(source, executor)
        download_images(_table_path(source, out, of_table), folder, shard_size=config.shard_size, **of_table)
    else:
        given = [name for name, value in {"images": images, **of_table}.items() if value not in _UNSET]
        if given:
            raise BadInput(f"{', '.join(given)}: would have no effect on {os.fspath(source)}, which is no URL table")
        config = config_of(EmbedConfig, options, source=os.fspath(source), out=out, model=spec)
    run_embed(config, executor=executor, workers=workers)
    return EmbeddingStore.open(out)


_UNSET = (None, (), "url", "caption")


def _table_path(table: Any, out: str, of_table: dict[str, Any]) -> str:
    """The path of a table; a frame is written beside `out`."""
    from index.corpus.table_rows import Columns
    from jobs.frame_kinds import is_frame
    from jobs.frames_in import write_table

    if not is_frame(table):
        return _path_of(table)
    if of_table["columns"]:
        raise BadInput("a data frame has names for its columns; `columns` is for text files without a header")
    columns = Columns(of_table["url_column"], of_table["caption_column"], of_table["keep_columns"])
    return write_table(table, f"{out.rstrip('/')}-table", columns)


def _path_of(source: Any) -> str:
    if isinstance(source, str | os.PathLike):
        return str(os.fspath(source))
    raise BadInput(f"{type(source).__name__}: give a path, or a data frame of Spark, Ray Data, pandas, Polars or Arrow")


def _refuse_connect(source: Any, executor: str) -> None:
    from jobs.frame_kinds import is_connect

    if executor == "spark" and is_connect(source):
        raise BadInput(
            'executor="spark" needs a session that runs in this process, and the frame is of Spark Connect; run the '
            'program by spark-submit, or choose executor="local" or "ray"'
        )
