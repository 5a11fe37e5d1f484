"""The `spark` executor: one Spark task an item.

Outcomes come back through an accumulator while the job runs, so that progress shows and the first error stops the job.
How Spark is found and started is in `jobs.executors.spark_context`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterable
from typing import Any

from index.errors import ClipmineError
from jobs.executors.spark_context import open_spark
from jobs.executors.work import Outcome, Work, WorkerDied, attempt

POLL_SECONDS = 0.1


def run(work: Work, workers: int | None, threads: int | None, gpu: bool) -> Generator[Outcome]:
    """Yield outcomes as items finish; closing the generator cancels the job.

    On a cluster, Spark's own settings decide how many tasks run at once and on which GPUs (spark.task.cpus,
    spark.task.resource.gpu.amount); `workers` and `threads` shape the Spark that is started on this machine.
    """
    with open_spark(workers, threads) as context:
        from pyspark.accumulators import AccumulatorParam

        class Outcomes(AccumulatorParam[list[Outcome]]):
            def zero(self, value: list[Outcome]) -> list[Outcome]:
                return []

            def addInPlace(self, value1: list[Outcome], value2: list[Outcome]) -> list[Outcome]:
                value1.extend(value2)
                return value1

        arrived = context.accumulator([], Outcomes())
        function, config, items = work.function, work.config, list(work.items)
        group = f"clipmine-{work.label}-{id(work)}"
        errors: list[Exception] = []

        def run_partition(pairs: Iterable[tuple[int, Any]]) -> None:
            for position, item in pairs:
                arrived.add([attempt(function, position, item, config)])

        def run_job() -> None:
            context.setJobGroup(group, f"clipmine {work.label}", interruptOnCancel=True)
            try:
                context.parallelize(list(enumerate(items)), numSlices=len(items)).foreachPartition(run_partition)
            except Exception as error:
                errors.append(error)

        job = threading.Thread(target=run_job, daemon=True)
        job.start()
        taken = 0
        try:
            running = True
            while running:
                job.join(POLL_SECONDS)
                running = job.is_alive()
                for outcome in arrived.value[taken:]:
                    taken += 1
                    yield outcome
            if errors:
                raise _job_error(work, errors[0])
        finally:
            if job.is_alive():
                context.cancelJobGroup(group)
                job.join()


def _job_error(work: Work, error: Exception) -> ClipmineError:
    """Spark gives up on a task whose worker died in every attempt; a task's number is its item's position."""
    task = re.search(r"Task (\d+) in stage \S+ failed", str(error))
    if task:
        return WorkerDied(work.label, work.item_name(int(task.group(1))), "Spark lost its worker")
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ClipmineError(f"{work.label}: Spark stopped the job: {lines[-1].strip()}")
