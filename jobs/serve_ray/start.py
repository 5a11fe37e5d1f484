"""Starting and stopping the service on Ray: encoder replicas, groups of shards, and a front that merges their answers.

    clipmine serve STORE --executor ray --shard-groups 4 --shard-replicas 2
    serve run docs/serve.yaml                    import_path: jobs.serve_ray.start:build

The application itself is in `jobs.serve_ray.app`.
"""

from __future__ import annotations

import http.client
import logging
import os
import signal
import sys
import threading
import time

import ray
from ray import serve

from index.cores import usable_cores
from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore
from jobs.executors.on_ray import start_ray
from jobs.serve_job import open_listener, warn_if_open
from jobs.serve_ray.app import ServeArgs, build
from jobs.serve_ray.ask import first_line
from jobs.serve_ray.groups import default_groups, most_groups
from retrieval.service.settings import Settings

__all__ = ["APP", "ServeArgs", "build", "run_serve_ray", "start"]

APP = "clipmine"  # the application's name on the cluster
# Ray's object store holds large arguments only, such as the vectors of thousands of queries; answers are small.
OBJECT_STORE_BYTES = 256 << 20
ANSWER_SECONDS = 120.0  # how long Serve's HTTP proxy may take after the replicas are up


def run_serve_ray(
    store: EmbeddingStore | str | os.PathLike[str],
    settings: Settings,
    host: str,
    port: int,
    encoder_replicas: int = 1,
    shard_groups: int | None = None,
    shard_replicas: int = 1,
) -> None:
    """Serve on the cluster at RAY_ADDRESS, or on a Ray started here, until SIGINT or SIGTERM; then stop gracefully.

    port: 0 takes a free one. shard_groups: at most as many as the index has shards; a line says when it has fewer.

    Raises:
        BadInput: no cluster at RAY_ADDRESS, a port that is taken, no such store.
        ClipmineError: the replicas do not start; the message says why.
    """
    opened = store if isinstance(store, EmbeddingStore) else EmbeddingStore.open(store)
    most = most_groups(opened)
    shard_groups = shard_groups or default_groups(opened)
    if shard_groups > most:
        _say(f"{opened.path}: its smallest index has {most} shards, so there are {most} groups of them")
        shard_groups = most
    joined = bool(os.environ.get("RAY_ADDRESS"))
    if not joined:
        with open_listener(host, port) as listener:  # before Ray starts, since a taken port is a mistake to report
            port = listener.getsockname()[1]
    start_ray(OBJECT_STORE_BYTES)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    replicas = 1 + encoder_replicas + shard_groups * shard_replicas
    # On a machine of our own all replicas must fit, however few cores there are.
    share = 1.0 if joined else min(1.0, int(100 * usable_cores() / replicas) / 100)
    args = ServeArgs(
        store=str(opened.path),
        name=settings.name,
        encoder_replicas=encoder_replicas,
        encoder_cpus=share,
        shard_groups=shard_groups,
        shard_replicas=shard_replicas,
        shard_cpus=share,
        front_cpus=share,
        settings={name: value for name, value in vars(settings).items() if name != "name"},
    )
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    try:
        start(args, host, port)
        _say(
            f"serving {args.name or opened.path.name} at http://{host}:{port} from Ray: encoders {encoder_replicas}, "
            f"groups of shards {shard_groups} x {shard_replicas}"
        )
        warn_if_open(host, settings)
        stop.wait()
    finally:
        # Serve lets the replicas finish their requests. A cluster may run other applications: they stay.
        serve.delete(APP)
        if not joined:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)


def start(args: ServeArgs, host: str, port: int) -> None:
    """Deploy on the Ray that is up, and wait until the service answers at http://host:port.

    Raises:
        ClipmineError: the replicas do not start, or no answer comes.
    """
    try:
        try:
            serve.start(http_options={"host": host, "port": port})
        except TimeoutError:
            serve.start()  # the machine is busy; Serve goes on starting its proxy
        serve.run(build(args), name=APP, route_prefix="/")
    except ClipmineError:
        raise
    except Exception as error:
        raise ClipmineError(
            f"{args.store}: the replicas did not start on Ray ({first_line(error)}); the logs of Ray say more"
        ) from error
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    deadline = time.monotonic() + ANSWER_SECONDS
    while not _answers(local, port):
        if time.monotonic() > deadline:
            raise ClipmineError(f"http://{host}:{port}: Ray Serve's proxy does not answer; the logs of Ray say more")
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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
