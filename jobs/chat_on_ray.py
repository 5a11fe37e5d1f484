"""A chat model in several actors of Ray, each with the whole model: requests go to the actor that is free.

    model = ChatOnRay(functools.partial(LocalModel, "llava-hf/llava-1.5-7b-hf"), workers=4)

Ray starts an actor that dies again, and sends it what it had not answered; a batch whose actor dies three times fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from index.errors import BadInput, ClipmineError
from jobs.executors.attempts import ATTEMPTS
from jobs.executors.cores import share_cores
from jobs.executors.on_ray import start_ray
from mining.chat.chat import ChatModel, ChatReply, ChatRequest

__all__ = ["ChatOnRay"]

Batch = list[tuple[str, ChatRequest]]
# Batches that an actor has at once, so that it need not wait for the next one.
_WAITING = 2


class ChatOnRay:
    """A chat model that is made by `make` in each actor. Answers do not depend on the number of actors.

    workers: actors; by default one a GPU, else one. batch: requests that an actor is given at once.
    """

    def __init__(self, make: Callable[[], ChatModel], workers: int | None = None, batch: int = 16) -> None:
        """Starts the actors. Raises what `make` raises, and BadInput where no cluster answers at RAY_ADDRESS."""
        import ray

        if workers is not None and workers < 1:
            raise BadInput(f"--workers must be at least 1, not {workers}")
        start_ray()
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0))
        self._workers, threads = share_cores(int(resources["CPU"]), workers or gpus or 1, None)
        self._batch = batch
        # Ray sets OMP_NUM_THREADS of an actor to its num_cpus.
        cores = min(float(threads), resources["CPU"] / self._workers)
        share = min(1.0, gpus / self._workers) if gpus else 0
        actor: Any = ray.remote(num_cpus=cores, num_gpus=share, max_restarts=-1, max_task_retries=ATTEMPTS - 1)(_Actor)
        self._actors: list[Any] = [actor.remote(make) for _ in range(self._workers)]
        try:
            described: list[tuple[str, dict[str, Any]]] = _result(self._actors[0].described.remote())
        except BaseException:
            self.close()
            raise
        self._name, self._identity = described[0]

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._identity

    def replies(self, requests: Iterable[tuple[str, ChatRequest]]) -> Iterator[tuple[str, ChatReply]]:
        """See `mining.chat.chat.ChatModel.replies`."""
        import ray

        iterator = iter(requests)
        free = deque(self._actors * _WAITING)
        running: dict[Any, tuple[Any, Batch]] = {}
        while True:
            while free and (batch := list(islice(iterator, self._batch))):
                actor = free.popleft()
                running[actor.answers.remote(batch)] = (actor, batch)
            if not running:
                return
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            actor, batch = running.pop(done)
            free.append(actor)
            try:
                found = _result(done)
            except ray.exceptions.RayActorError:
                found = [(key, ChatReply("", "failed", error=f"its actor died {ATTEMPTS} times")) for key, _ in batch]
            yield from found

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self._actors:
            ray.kill(actor)


class _Actor:
    """One model in a process of its own."""

    def __init__(self, make: Callable[[], ChatModel]) -> None:
        self._make = make
        self._model: ChatModel | None = None

    def described(self) -> tuple[Any, Any]:
        """(None, [(name, identity)]) of the model; ((the error's class, its message), None) for a ClipmineError."""
        return self._guarded(lambda model: [(model.name, dict(model.identity))])

    def answers(self, batch: Batch) -> tuple[Any, Any]:
        """(None, the replies to a batch); the error as `described` gives it."""
        return self._guarded(lambda model: list(model.replies(batch)))

    def _guarded(self, use: Callable[[ChatModel], list[Any]]) -> tuple[Any, Any]:
        try:
            if self._model is None:
                self._model = self._make()
            return None, use(self._model)
        except ClipmineError as error:
            return (type(error), str(error)), None


def _result(reference: Any) -> Any:
    """What an actor returned; raises the ClipmineError that it met. Raises RayActorError where the actor died."""
    import ray

    failure, value = ray.get(reference)
    if failure is not None:
        kind, message = failure
        error = kind.__new__(kind)
        Exception.__init__(error, message)
        raise error
    return value
