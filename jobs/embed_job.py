"""The embedding job: a corpus in, a store out, item by item on any executor.

run_embed(EmbedConfig("photos/", "store", ModelSpec("ViT-B-32", "openai")), executor="ray")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from index.corpus.samples import ShardItem
from index.lease import only_writer
from index.outputs import unused_claim_released
from index.store.embed import (
    CONFIG_NAME,
    NO_OUTPUT,
    EmbedConfig,
    StoreSummary,
    embed_item,
    finish_store,
    plan_corpus,
    prepare_store,
)
from index.store.store_model import remember_model
from jobs.executors.execute import check_executor, execute
from jobs.places import with_absolute
from jobs.shared_storage import SharedFolder

# Two cores give the same rows/s as one worker of two threads and as two of one (ViT-B-32, 256 photographs: 72 s each),
# and one worker takes half the memory. A worker with a GPU gets its share of the cores and decodes in processes.
WORKER_THREADS = 4


@dataclass(frozen=True)
class EmbedSummary:
    """What is in the store, and what this run added to it: items of earlier runs are skipped."""

    store: StoreSummary
    items_skipped: int
    rows_embedded: int
    seconds: float


def run_embed(
    config: EmbedConfig,
    *,
    executor: str = "local",
    workers: int | None = None,
    on_items: Callable[[Sequence[ShardItem]], None] | None = None,
) -> EmbedSummary:
    """Embed a corpus; run again after an interruption, it embeds the items that are missing.

    `on_items` is called with the corpus's items before any work starts.

    Raises what `prepare_store`, `embed_item` and `finish_store` of `index.store.embed` raise, and what
    `jobs.executors.execute.execute` raises.
    """
    check_executor(executor, workers)
    config = with_absolute(config, "source", "out", executor=executor)
    started = time.monotonic()
    corpus = plan_corpus(config)
    items = corpus.items
    if on_items is not None:
        on_items(items)
    with only_writer(config.out) as lease, unused_claim_released(config.out, CONFIG_NAME, NO_OUTPUT):
        waiting = prepare_store(config, items)
        remember_model(config.out, config.model)
        done = execute(
            executor,
            embed_item,
            waiting,
            config,
            workers=workers,
            threads=WORKER_THREADS,
            gpu="required" if (config.device or "").startswith("cuda") else True,
            shared=SharedFolder(config.out),
            label="embed",
        )
        lease.check()
        store = finish_store(config, items, corpus.passed_over)
    return EmbedSummary(
        store=store,
        items_skipped=len(items) - len(waiting),
        rows_embedded=sum(item.rows for item in done),
        seconds=time.monotonic() - started,
    )
