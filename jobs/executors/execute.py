"""One signature over three executors: map a pure function over work items on `local` processes, `ray` or `spark`.

An executor distributes items and collects their results. Batches are cut inside an item's function, so the files that
items write do not depend on the executor or on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, Protocol, TypeVar

from index.errors import BadInput
from jobs.executors.attempts import Gpu, Outcome, Work, raise_failure
from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress

EXECUTORS = ("local", "ray", "spark")

Item = TypeVar("Item")
Config = TypeVar("Config")
Result = TypeVar("Result")


class Checked(Protocol):
    """What is checked once, before the first items: `jobs.shared_storage.SharedFolder`."""

    def check(self, executor: str, workers: int | None) -> None: ...


def execute(
    executor: str,
    function: Callable[[Item, Config], Result],
    items: Sequence[Item],
    config: Config,
    *,
    workers: int | None = None,
    threads: int | None = None,
    gpu: Gpu = False,
    shared: Checked | None,
    label: str,
) -> list[Result]:
    """Run `function(item, config)` for every item and return the results in the order of the items.

    The function is importable at module level, pure and idempotent; items and config are frozen dataclasses. An item
    whose worker is killed is tried again, three times in all.

    Args:
        executor: "local": processes here; "ray": the cluster at RAY_ADDRESS, else a Ray started here; "spark": the
            master of spark-submit, else a Spark started here.
        workers: how many items run at once; by default as many as the cores allow at `threads` each, or the GPUs.
        threads: most threads a worker; by default an even share of the cores.
        gpu: give every worker its own GPU where there are GPUs; "required": on Ray, wait for a node with one, which an
            autoscaler may add.
        shared: where the items write; the workers and this process must see each other's files there. None: items that
            write nothing.
        label: the job's name in progress and messages.

    Raises:
        ClipmineError: the first error that an item raised, as it raised it; the job stops.
        ItemFailed: an item raised something unforeseen; the message names the item.
        WorkerDied: an item's worker was killed in every attempt.
        BadInput: unknown executor, or workers < 1, or a worker that does not see `shared`.
        MissingDependency: Spark or its Java is not installed.
    """
    check_executor(executor, workers)
    if not items:
        return []
    if shared is not None:
        shared.check(executor, workers)
    work = Work(label, function, items, config)
    results: dict[int, Result] = {}
    with Progress(label, len(items)) as progress, closing(_outcomes(executor, work, workers, threads, gpu)) as outcomes:
        for outcome in outcomes:
            if outcome.failure is not None:
                raise_failure(work, outcome)
            results[outcome.position] = outcome.result
            progress.advance(rows=getattr(outcome.result, "rows", 0))
            stop_if_interrupted()
    return [results[position] for position in range(len(items))]


def check_executor(executor: str, workers: int | None) -> None:
    """Refuse an unknown executor or a number of workers below 1 before a job prepares anything."""
    if executor not in EXECUTORS:
        raise BadInput(f"unknown executor {executor!r}: choose one of {', '.join(EXECUTORS)}")
    if workers is not None and workers < 1:
        raise BadInput(f"--workers must be at least 1, not {workers}")


def _outcomes(executor: str, work: Work, workers: int | None, threads: int | None, gpu: Gpu) -> Generator[Outcome]:
    # Imported only when used: Ray and Spark take seconds to import.
    run: Any
    if executor == "ray":
        from jobs.executors.on_ray import run
    elif executor == "spark":
        from jobs.executors.on_spark import run
    else:
        from jobs.executors.local import run
    outcomes: Generator[Outcome] = run(work, workers, threads, gpu)
    return outcomes
