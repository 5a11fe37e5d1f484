"""The near-duplicates job: a store in; the group of each of its images out, segment by segment on any executor."""

from __future__ import annotations

from index.duplicates.segments import (
    DuplicatesConfig,
    DuplicatesSummary,
    finish_groups,
    search_segment,
    undone_segments,
)
from index.lease import only_writer
from index.store.embedding_store import EmbeddingStore
from jobs.executors.execute import check_executor, execute
from jobs.places import with_absolute
from jobs.shared_storage import SharedFolder

__all__ = ["run_duplicates"]


def run_duplicates(
    config: DuplicatesConfig, *, executor: str = "local", workers: int | None = None
) -> DuplicatesSummary:
    """Group the near-duplicate images of a store. Run again after a kill, it searches the segments that are left.

    Raises:
        OutputExists: another job is writing in the store.

    and what the functions of `index.duplicates.segments` and `jobs.executors.execute.execute` raise.
    """
    check_executor(executor, workers)
    config = with_absolute(config, "store", executor=executor)
    EmbeddingStore.open(config.store)  # before a lease is written where there is no store
    with only_writer(config.store, "run `clipmine duplicates` again when it has ended") as lease:
        waiting = undone_segments(config)
        # A single segment is searched here: workers take seconds to start.
        where, most = (executor, workers) if len(waiting) > 1 else ("local", 1)
        shared = SharedFolder(config.store)
        execute(where, search_segment, waiting, config, workers=most, shared=shared, label="near-duplicates")
        lease.check()
        return finish_groups(config)
