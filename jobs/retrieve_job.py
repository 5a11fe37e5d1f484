"""The retrieval job: a concept list in, a selection out; the search is shared out over any executor.

Run again after a kill, it continues: encoded prompts, rows found in a group and finished blocks are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from index.encoder.model_spec import ModelSpec
from index.files import as_path, as_url
from index.outputs import only_writer
from index.store.embedding_store import EmbeddingStore
from jobs.executors.execute import check_executor, execute
from jobs.places import with_absolute
from jobs.shared_storage import SharedFolder
from retrieval.concepts import ConceptList
from retrieval.retrieve import (
    check_retrieval,
    finish_selection,
    finished_selection,
    prepare_retrieval,
    retrieval_claim,
    retrieval_config,
    retrieve,
)
from retrieval.selection import Selection
from retrieval.shared_search import MapItems, SharedSearch, share_search

__all__ = ["run_retrieve"]


def run_retrieve(
    store: EmbeddingStore | str | os.PathLike[str],
    concepts: ConceptList | str | os.PathLike[str] | Iterable[str],
    *,
    out: str | os.PathLike[str],
    executor: str = "local",
    workers: int | None = None,
    model: ModelSpec | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    **choices: Any,
) -> Selection:
    """`retrieval.retrieve.retrieve` on an executor; the selection does not depend on which, nor on `workers`.

    In this process for "local" without `workers`; only then `on_progress` is called, otherwise each stage shows its own
    progress. choices: further arguments of `retrieve`.

    Raises:
        BadInput: workers that do not see the output folder; and what `retrieve` and `execute` raise.
    """
    check_executor(executor, workers)
    if executor == "local" and workers is None:
        with only_writer(os.fspath(out)):
            return retrieve(store, concepts, out=out, model=model, on_progress=on_progress, **choices)
    # Workers run in other folders.
    place = store.path if isinstance(store, EmbeddingStore) else store
    config = retrieval_config(as_url(as_path(place)), concepts, out=as_url(as_path(out)), **choices)
    config = with_absolute(config, "store", "out", executor=executor)
    check_retrieval(config)  # before the folder is written to
    with only_writer(config.out), retrieval_claim(config):
        if prepare_retrieval(config):
            return finished_selection(config)
        shared = SharedFolder(config.out)
        share_search(config, lambda search: _map_items(search, executor, workers, shared), model)
        return finish_selection(config)


def _map_items(search: SharedSearch, executor: str, workers: int | None, shared: SharedFolder) -> MapItems:
    scans = any(plan.method == "exact" for plan in search.plans.values())

    def map_items(function: Callable[[Any, SharedSearch], Any], items: Sequence[Any], label: str) -> list[Any]:
        # A GPU each, where there are GPUs, for what uses one: the text encoder and exact scans.
        gpu = label == "encode prompts" or (label == "search" and scans)
        # A single item runs here: workers take seconds to start.
        where, most = (executor, workers) if len(items) > 1 else ("local", 1)
        return execute(where, function, items, search, workers=most, gpu=gpu, shared=shared, label=f"retrieve: {label}")

    return map_items
