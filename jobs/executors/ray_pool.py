"""A pool of Ray actors that try work items, one at a time each. An actor loads a model once.

This process hands out the items, so it knows which item an actor had when it died. Ray Data's pool, which would hand
them out too, retries without limit and does not tell. Actors that do not fit into the cluster wait in Ray's queue: work
starts with the first one, a cluster that grows with its work adds nodes for the others, and nodes that join get
actors.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

from index.errors import ClipmineError
from jobs.executors.attempts import ATTEMPTS, Failure, Gpu, Outcome, Work, attempt, raise_failure, worker_died
from jobs.executors.ray_resources import Node, PoolPlan, describe_nodes, living_nodes, plan_pool
from jobs.interrupt import stop_if_interrupted

__all__ = ["on_each_node", "run_pool"]

# A node may be lost for reasons that are not the item's, such as the price of spot machines.
NODE_ATTEMPTS = 10
FAILED_STARTS = 10  # in a row, of actors that never answered
NODE_SECONDS = 120.0  # for a node's answer to a check
POLL_SECONDS = 1.0
LOOK_SECONDS = 5.0  # between two looks at the cluster's nodes
NOTICE_SECONDS = 20.0  # without any actor, until the reader is told what is waited for


class Worker:
    """The actor. Its process keeps the work, and the model that the work's function has loaded."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def host(self) -> str:
        """The name of its machine."""
        return socket.gethostname()

    def attempt(self, position: int, item: Any) -> Outcome:
        """The outcome of one item."""
        work = self._work
        return attempt(work.function, position, item, work.config, work.environment)


def run_pool(work: Work, workers: int | None, threads: int | None, gpu: Gpu) -> Generator[Outcome]:
    """Yield outcomes as items finish; closing the generator ends the actors. Ray must be up."""
    if gpu == "required":
        wait_for_gpu(work.label, workers or 1)
    pool = _Pool(work, workers, threads, bool(gpu))
    try:
        yield from pool.outcomes()
    finally:
        pool.close()


def wait_for_gpu(label: str, gpus: int) -> None:
    """Wait until a node with a GPU is there; an autoscaler is asked for so many GPUs meanwhile.

    How many cores a worker may have is known only then.
    """
    if not _has_gpu(nodes := living_nodes()):
        from ray.autoscaler.sdk import request_resources

        request_resources(bundles=[{"GPU": 1.0}] * gpus)
        try:
            notice = time.monotonic() + NOTICE_SECONDS
            while not _has_gpu(nodes := living_nodes()):
                stop_if_interrupted()
                if time.monotonic() > notice:
                    notice = float("inf")
                    _say_waits(label, "a GPU", nodes)
                time.sleep(POLL_SECONDS)
        finally:
            request_resources(bundles=[])


def _has_gpu(nodes: Sequence[Node]) -> bool:
    return any(node.get("GPU", 0) >= 1 for node in nodes)


def _say_waits(label: str, needs: str, nodes: Sequence[Node]) -> None:
    line = f"{label}: waits for a node with {needs}; the cluster has {describe_nodes(nodes)} (Ctrl-C stops)"
    print(line, file=sys.stderr, flush=True)


def on_each_node(function: Callable[[int, Any], Any], config: Any, label: str) -> list[Any]:
    """`function(number, config)` once on each living node that workers may run on, numbered from 0.

    Ray must be up; cores that are busy do not delay it.

    Raises what the function raises, and ClipmineError for a node that does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node for node in listed if node["Alive"] and {"CPU", "GPU"} & set(node["Resources"])]
    work = Work(label, function, range(len(nodes)), config)
    remote: Any = ray.remote(num_cpus=0, max_retries=0)(attempt)
    answers = []
    for number, node in enumerate(nodes):
        there = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        placed = remote.options(scheduling_strategy=there)
        answers.append(placed.remote(function, number, number, config, work.environment))
    results = []
    for node, answer in zip(nodes, answers, strict=True):
        try:
            outcome = ray.get(answer, timeout=NODE_SECONDS)
        except ray.exceptions.RayError as error:
            name = node["NodeManagerHostname"]
            raise ClipmineError(f"{label}: the node {name} does not answer: {_last_line(error)}") from error
        if outcome.failure is not None:
            raise_failure(work, outcome)
        results.append(outcome.result)
    return results


class _Pool:
    def __init__(self, work: Work, workers: int | None, threads: int | None, gpu: bool) -> None:
        import ray

        self.ray: Any = ray
        self.work = work
        self.asked = workers, threads, gpu
        self.plan = plan_pool(living_nodes(), workers, threads, gpu)
        self.kind: Any = ray.remote(num_cpus=self.plan.cpus, num_gpus=self.plan.gpus, max_restarts=0)(Worker)
        self.sent = ray.put(Work(work.label, work.function, (), work.config, work.environment))
        self.waiting = deque(range(len(work.items)))
        self.died = [0] * len(work.items)
        self.nodes_lost = [0] * len(work.items)
        # What each answer that is awaited is of: an actor and its item, None while it starts.
        self.busy: dict[Any, tuple[Any, int | None]] = {}
        self.idle: list[Any] = []
        self.failed_starts = 0
        self.looked = self.answered = time.monotonic()

    def outcomes(self) -> Generator[Outcome]:
        while self.waiting or any(position is not None for _, position in self.busy.values()):
            self._fill()
            done, _ = self.ray.wait(list(self.busy), num_returns=1, timeout=POLL_SECONDS)
            for answer in done:
                yield from self._take(answer)
            self._look()

    def close(self) -> None:
        """End all actors, those that wait for a place too."""
        for actor in [*self.idle, *(actor for actor, _ in self.busy.values())]:
            self.ray.kill(actor)

    def _fill(self) -> None:
        """Give items to actors that have none, and start actors for those that are left."""
        while self.waiting and self.idle:
            actor, position = self.idle.pop(), self.waiting.popleft()
            self.busy[actor.attempt.remote(position, self.work.items[position])] = actor, position
        running = sum(position is not None for _, position in self.busy.values())
        wanted = min(self.plan.workers, running + len(self.waiting))
        for _ in range(wanted - len(self.busy) - len(self.idle)):
            actor = self.kind.remote(self.sent)
            self.busy[actor.host.remote()] = actor, None

    def _take(self, answer: Any) -> Generator[Outcome]:
        actor, position = self.busy.pop(answer)
        try:
            result = self.ray.get(answer)
        except self.ray.exceptions.RayTaskError as error:  # the outcome could not be sent
            assert position is not None
            yield Outcome(position, failure=_as_failure(error))
            self.idle.append(actor)
        except self.ray.exceptions.RayError as error:
            self.ray.kill(actor)  # one that is out of reach may go on with the item otherwise
            if position is None:
                self._failed_start(error)
            else:
                yield from self._lost(position, error)
        else:
            self.answered, self.failed_starts = time.monotonic(), 0
            self.idle.append(actor)
            if position is not None:
                yield result

    def _failed_start(self, error: Any) -> None:
        self.failed_starts += 1
        exceptions = self.ray.exceptions
        own = getattr(error, "actor_init_failed", False) or isinstance(error, exceptions.RuntimeEnvSetupError)
        if own or self.failed_starts >= FAILED_STARTS:
            raise ClipmineError(f"{self.work.label}: a worker could not start on Ray: {_last_line(error)}") from error

    def _lost(self, position: int, error: Any) -> Generator[Outcome]:
        """Try the item again, or give it up; what ended its actor is counted."""
        if "node" in str(error) and ("has died" in str(error) or "preempt" in str(error)):
            self.nodes_lost[position] += 1
        else:
            self.died[position] += 1
        if self.died[position] >= ATTEMPTS or self.nodes_lost[position] >= NODE_ATTEMPTS:
            yield Outcome(position, failure=worker_died(self.work, position, "Ray lost its actor"))
        else:
            self.waiting.appendleft(position)

    def _look(self) -> None:
        """Follow a cluster that grows or shrinks, and say what is waited for where nothing runs."""
        now = time.monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        nodes = living_nodes()
        grown = plan_pool(nodes, *self.asked)
        if grown.workers > self.plan.workers and self.asked[0] is None:
            self.plan = PoolPlan(grown.workers, self.plan.cpus, self.plan.gpus)
        running = any(position is not None for _, position in self.busy.values())
        if not running and now - self.answered > NOTICE_SECONDS:
            self.answered = now
            _say_waits(self.work.label, self.plan.needs(), nodes)


def _as_failure(error: Any) -> Failure:
    return Failure("builtins", type(error.cause).__name__, _last_line(error), str(error))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
