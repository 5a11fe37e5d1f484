"""Starting and stopping the service on Ray: encoder replicas, groups of shards, and a front that merges their answers.

    clipmine serve STORE --executor ray --shard-groups 4 --shard-replicas 2-6
    serve run docs/serve.yaml                    import_path: jobs.serve_ray.start:build

The application itself is in `jobs.serve_ray.app`.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from index.cores import usable_cores
from index.errors import BadInput, ClipmineError
from index.store.embedding_store import EmbeddingStore
from jobs.executors.on_ray import start_ray
from jobs.interrupt import stop_if_interrupted
from jobs.serve_job import open_listener, warn_if_open
from jobs.serve_ray.app import ServeArgs, build
from jobs.serve_ray.ask import first_line
from jobs.serve_ray.deploy import NOTICE_SECONDS, check_address, delete, deploy, find_application, say
from jobs.serve_ray.groups import default_groups, most_groups
from retrieval.service.settings import Settings

__all__ = ["APP", "Replicas", "ServeArgs", "build", "run_serve_ray", "start"]

APP = "clipmine"  # the application's name on the cluster
# Ray's object store holds large arguments only, such as the vectors of thousands of queries; answers are small.
OBJECT_STORE_BYTES = 256 << 20
ANSWER_SECONDS = 120.0  # how long Serve's HTTP proxy may take after the replicas are up
CHECK_SECONDS = 10.0  # between two looks whether the application is still there

Replicas = int | tuple[int, int]  # a number, or the least and the most


def run_serve_ray(
    store: EmbeddingStore | str | os.PathLike[str],
    settings: Settings,
    host: str,
    port: int,
    encoder_replicas: Replicas = 1,
    shard_groups: int | None = None,
    shard_replicas: Replicas = 1,
) -> None:
    """Serve on the cluster at RAY_ADDRESS, or on a Ray started here, until SIGINT or SIGTERM; then stop gracefully.

    port: 0 takes a free one. encoder_replicas, shard_replicas: a number, or the least and the most. shard_groups: at
    most as many as the index has shards; a line says when it has fewer.

    Raises:
        BadInput: no cluster at RAY_ADDRESS, a port that is taken, no such store.
        ClipmineError: the replicas do not start; the message says why. Or somebody else deleted the application.
        KeyboardInterrupt: SIGINT or SIGTERM came before the service answered.
    """
    with _stopped_by_sigterm() as heed:
        opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
        most = most_groups(opened)
        shard_groups = shard_groups or default_groups(opened)
        if shard_groups > most:
            say(f"{opened.path}: its smallest index has {most} shards, so there are {most} groups of them")
            shard_groups = most
        joined = bool(os.environ.get("RAY_ADDRESS"))
        if not joined:
            with open_listener(host, port) as listener:  # before Ray starts, since a taken port is a mistake to report
                port = listener.getsockname()[1]
        elif port == 0:
            raise BadInput("--port 0: a cluster's nodes need one port for all; choose a --port")
        try:
            start_ray(OBJECT_STORE_BYTES)
            heed()  # Ray has set a handler of its own
            logging.getLogger("ray.serve").setLevel(logging.WARNING)
            replicas = 1 + _most(encoder_replicas) + shard_groups * _most(shard_replicas)
            # On a machine of our own all replicas must fit, however few cores there are.
            share = 1.0 if joined else min(1.0, int(100 * usable_cores() / replicas) / 100)
            args = ServeArgs(
                store=str(opened.path),
                name=settings.name,
                encoder_cpus=share,
                shard_groups=shard_groups,
                shard_cpus=share,
                front_cpus=share,
                settings={name: value for name, value in vars(settings).items() if name != "name"},
                **_scale("encoder", encoder_replicas),
                **_scale("shard", shard_replicas),
            )
            start(args, host, port)
            try:
                say(
                    f"serving {args.name or opened.path.name} at http://{host}:{port} from Ray: encoders "
                    f"{_in_words(encoder_replicas)}, groups of shards {shard_groups} x {_in_words(shard_replicas)}"
                )
                warn_if_open(host, settings)
                _watch()
            except KeyboardInterrupt:
                say("stopping, after the requests that are being answered (Ctrl-C again: at once)")
                with contextlib.suppress(KeyboardInterrupt):
                    delete(APP)
        finally:
            # A cluster may run other applications: they stay.
            if not joined and ray.is_initialized():
                serve.shutdown()  # type: ignore[no-untyped-call]
                ray.shutdown()


def _watch() -> None:
    """Wait until the application is gone. Raises ClipmineError then, and KeyboardInterrupt at SIGINT or SIGTERM."""
    while True:
        time.sleep(CHECK_SECONDS)
        stop_if_interrupted()
        # Serve's controller may be away for a while, for example when its node is replaced.
        with contextlib.suppress(RayError, RayServeException):
            if find_application(APP) is None:
                raise ClipmineError(f"the application {APP} was deleted from Ray Serve, so the service has ended")


def start(args: ServeArgs, host: str, port: int) -> None:
    """Deploy on the Ray that is up, and wait until the service answers at http://host:port.

    Raises:
        BadInput: Serve runs on the cluster already, with another address, or serves a store there.
        ClipmineError: the replicas do not start, or no answer comes.
    """
    try:
        try:
            serve.start(http_options={"host": host, "port": port})
        except TimeoutError:
            serve.start()  # the machine is busy; Serve goes on starting its proxy
        check_address(host, port)
        if find_application(APP) is not None:
            raise BadInput(
                f"this cluster serves a store already, as its application {APP}: stop that service first (`serve "
                "shutdown` ends the applications of commands that were killed)"
            )
        deploy(build(args), APP)
    except ClipmineError:
        raise
    except Exception as error:
        raise ClipmineError(
            f"{args.store}: the replicas did not start on Ray ({first_line(error)}); the logs of Ray say more"
        ) from error
    try:
        _wait_for_answer({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)
    except BaseException:
        delete(APP)
        raise


def _wait_for_answer(host: str, port: int) -> None:
    began, told = time.monotonic(), False
    while not _answers(host, port):
        stop_if_interrupted()
        waited = time.monotonic() - began
        if waited > ANSWER_SECONDS:
            raise ClipmineError(
                f"http://{host}:{port}: Ray Serve's proxy does not answer; there is one on the head and on each node "
                "that has a replica; the logs of Ray say more"
            )
        if waited > NOTICE_SECONDS and not told:
            say(f"serve: the replicas run; waits for Ray Serve's proxy at http://{host}:{port} (Ctrl-C stops)")
            told = True
        time.sleep(0.1)


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[Callable[[], None]]:
    """SIGTERM does what Ctrl-C does. Yields a function that sets this again, after something else has changed it."""

    def stop(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    def heed() -> None:
        signal.signal(signal.SIGTERM, stop)

    before = signal.getsignal(signal.SIGTERM)
    heed()
    try:
        yield heed
    except SystemExit as error:  # of the handler that `ray.init` sets
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _scale(kind: str, replicas: Replicas) -> dict[str, Any]:
    """The arguments of ServeArgs for a number of replicas, or for a range."""
    if isinstance(replicas, int):
        return {f"{kind}_replicas": replicas}
    least, most = replicas
    return {f"{kind}_autoscaling_config": {"min_replicas": least, "max_replicas": most}}


def _most(replicas: Replicas) -> int:
    return replicas if isinstance(replicas, int) else replicas[1]


def _in_words(replicas: Replicas) -> str:
    return str(replicas) if isinstance(replicas, int) else "{}-{}".format(*replicas)
