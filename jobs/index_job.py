"""The index job: a store in; its look-up files and an HNSW index a modality out, item by item on any executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from index.cores import usable_cores
from index.errors import BadInput
from index.graph.build import (
    IndexConfig,
    IndexSummary,
    build_index_item,
    drop_damaged_shards,
    finish_index,
    prepare_layout,
    undone_index_items,
)
from index.graph.layout_build import GroupWork
from index.graph.machine import LEAST_ROWS, SERVER, measure_machine, read_machine, write_machine
from index.graph.pilot import choose_by_pilot
from index.lease import Lease, only_writer
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.lookup import build_lookup, is_lookup_done, plan_lookups
from jobs.executors.execute import check_executor, execute
from jobs.places import with_absolute
from jobs.progress import Progress
from jobs.shared_storage import SharedFolder

MODALITIES: dict[str, tuple[Modality, ...]] = {"image": ("image",), "text": ("text",), "both": ("image", "text")}


def run_index(
    config: IndexConfig,
    modality: str = "both",
    *,
    executor: str = "local",
    workers: int | None = None,
    checksums: bool = False,
    pilot: bool = False,
) -> list[IndexSummary]:
    """Index `modality`: image, text, or both (image only for a store without texts); `config.modality` is not read.

    Searches go on meanwhile with the index that is there. checksums: first read the shards that are built already, and
    build those that are damaged again. pilot: measure all codecs on a sample of the store and take the best that fits;
    else that is done only for a first index that does not fit the memory in fp16.

    Raises:
        OutputExists: another job is writing in the store.

    and what the functions of `index.graph.build` and `jobs.executors.execute.execute` raise.
    """
    check_executor(executor, workers)
    if modality not in MODALITIES:
        raise BadInput(f"unknown modality {modality!r}: choose one of {', '.join(MODALITIES)}")
    config = with_absolute(config, "store", executor=executor)
    EmbeddingStore.open(config.store)  # before a lease is written where there is no store
    with only_writer(config.store, "run `clipmine index` again when it has ended") as lease:
        shared = SharedFolder(config.store)
        store = EmbeddingStore.open(config.store)
        wanted = MODALITIES[modality]
        if modality == "both" and not store.has_text:
            wanted = ("image",)
        planned = plan_lookups(store.manifest) if store.rows else []  # without rows the build says so
        lookups = [item for item in planned if not is_lookup_done(item, store.path, store.manifest)]
        execute(executor, build_lookup, lookups, config.store, workers=workers, shared=shared, label="look-up")
        return [
            _index_one(replace(config, modality=each), executor, workers, checksums, pilot, shared, lease)
            for each in wanted
        ]


def _index_one(
    config: IndexConfig,
    executor: str,
    workers: int | None,
    checksums: bool,
    pilot: bool,
    shared: SharedFolder,
    lease: Lease,
) -> IndexSummary:
    if checksums:
        drop_damaged_shards(config)
    with ExitStack() as stack:
        shown: list[Progress] = []  # once there is something to measure

        def reach(done: int, codecs: int) -> None:
            if not shown:
                shown.append(stack.enter_context(Progress(f"pilot {config.modality}", codecs, unit="codecs")))
            shown[0].reach(done, codecs)

        config = choose_by_pilot(config, always=pilot, on_progress=reach)

    def map_items(
        function: Callable[[Any, GroupWork], Any], items: Sequence[Any], work: GroupWork, label: str
    ) -> list[Any]:
        # A single item runs here: workers take seconds to start.
        where, most = (executor, workers) if len(items) > 1 else ("local", 1)
        return execute(where, function, items, work, workers=most, shared=shared, label=f"{label} {config.modality}")

    prepare_layout(config, map_items)
    waiting = undone_index_items(config)
    # One shard at a time on all cores: a shard is sized to fill the allowed memory, and faiss scales over threads.
    execute(
        executor,
        build_index_item,
        waiting,
        config,
        workers=workers,
        threads=None if workers else usable_cores(),
        shared=shared,
        label=f"index {config.modality}",
    )
    lease.check()
    with Progress(f"recall {config.modality}", unit="measurements") as progress:
        summary = finish_index(config, on_progress=progress.reach)
    _measure_machine(config)
    return summary


def _measure_machine(config: IndexConfig) -> None:
    """Write what searches of a large local store cost on this machine, unless that is known."""
    store = EmbeddingStore.open(config.store)
    if store.is_local and store.rows >= LEAST_ROWS and read_machine(store, config.modality) == SERVER:
        write_machine(store, config.modality, measure_machine(store, config.modality))
