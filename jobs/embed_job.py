"""The embedding job: a corpus in, a store out, item by item on any executor.

run_embed(EmbedConfig("photos/", "store", ModelSpec("ViT-B-32", "openai")), executor="ray")
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from index.encoder.store_model import remember_model
from index.errors import BadInput
from index.store.embed import EmbedConfig, StoreSummary, embed_item, finish_store, plan_items, prepare_store
from jobs.download_job import is_table, run_download
from jobs.executors.execute import check_executor, execute

# Two cores give the same rows/s as one worker of two threads and as two of one (ViT-B-32, 256 photographs: 72 s each),
# and one worker takes half the memory. Beyond four threads a worker's share of Python's own lock begins to show.
WORKER_THREADS = 4


def corpus_of(
    source: str,
    store: str,
    *,
    images: str | None = None,
    url_column: str = "url",
    caption_column: str = "caption",
    shard_size: int = 10_000,
) -> str:
    """The corpus to embed: `source` itself, or for a table of URLs the folder `images` that it is downloaded into."""
    if not is_table(source):
        if images is not None:
            raise BadInput(f"--images says where a URL table's images go, and {source} is not a .parquet, .csv or .tsv")
        return source
    folder = images or f"{store.rstrip('/')}-images"
    summary = run_download(source, folder, url_column=url_column, caption_column=caption_column, shard_size=shard_size)
    if not summary.downloaded:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.failed.items())
        raise BadInput(f"{source}: not one of its {summary.rows} images could be downloaded ({reasons})")
    return folder


@dataclass(frozen=True)
class EmbedSummary:
    """What is in the store, and what this run did for it: items of earlier runs are skipped."""

    store: StoreSummary
    items_skipped: int
    rows_embedded: int
    seconds: float


def run_embed(config: EmbedConfig, *, executor: str = "local", workers: int | None = None) -> EmbedSummary:
    """Embed a corpus; run again after an interruption, it does the items that are missing.

    Raises what `index.store.embed.prepare_store`, `embed_item`, `finish_store` and `jobs.executors.execute.execute` raise.
    """
    check_executor(executor, workers)
    started = time.monotonic()
    items = plan_items(config)
    waiting = prepare_store(config, items)
    remember_model(config.out, config.model)
    done = execute(
        executor, embed_item, waiting, config, workers=workers, threads=WORKER_THREADS, gpu=True, label="embed"
    )
    store = finish_store(config, items)
    return EmbedSummary(
        store=store,
        items_skipped=len(items) - len(waiting),
        rows_embedded=sum(item.rows for item in done),
        seconds=time.monotonic() - started,
    )
