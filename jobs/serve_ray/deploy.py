"""Deploying an application on Ray Serve and deleting it; says what its replicas wait for.

Serve's own `serve.run` waits without a word, for ever where a replica finds no place. Here the application is
deployed without waiting, and its state is looked at until all replicas run.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationDetails, DeploymentDetails, ServeInstanceDetails

from index.errors import BadInput, ClipmineError
from jobs.executors.ray_resources import Node, describe_needs, describe_nodes, living_nodes
from jobs.interrupt import stop_if_interrupted
from jobs.serve_ray.ask import first_line

__all__ = ["NOTICE_SECONDS", "check_address", "delete", "deploy", "find_application", "say"]

POLL_SECONDS = 0.25
NOTICE_SECONDS = 20.0  # until the reader is told what is waited for
LOOK_SECONDS = 5.0  # between two looks at what is waited for
DELETE_SECONDS = 60.0  # Serve gives the replicas 20 s for requests in progress (jobs.serve_ray.app)
NAMESPACE = "serve"  # of the actors of Serve
TRACE = "Traceback (most recent call last):\n"


def deploy(application: serve.Application, name: str, route: str = "/") -> None:
    """Deploy at the URL path `route`, and wait until the replicas run, however long: an autoscaler may add nodes.

    What is waited for is said after NOTICE_SECONDS, and again when it changes. Whatever ends this early, such as
    KeyboardInterrupt, deletes the application.

    Raises:
        ClipmineError: a replica failed to start, or somebody else deleted the application.
    """
    try:
        # After a TimeoutError, Serve's proxies are still starting; the application is deployed.
        with contextlib.suppress(TimeoutError):
            serve.run_many(
                [serve.RunTarget(application, name=name, route_prefix=route)],
                wait_for_ingress_deployment_creation=False,
                wait_for_applications_running=False,
            )
        _wait_until_running(name)
    except BaseException:
        delete(name)
        raise


def _wait_until_running(name: str) -> None:
    notice_at, said = time.monotonic() + NOTICE_SECONDS, ""
    while True:
        stop_if_interrupted()
        try:
            found = find_application(name)
        except RayError:  # Serve's controller starts again, on another node perhaps
            time.sleep(POLL_SECONDS)
            continue
        if found is None or found.status == "DELETING":
            raise ClipmineError(f"the application {name} was deleted from Ray Serve while it started")
        if found.status == "RUNNING":
            return
        _check_failed(found)
        if time.monotonic() >= notice_at:
            line = _waiting(list(found.deployments.values()), living_nodes())
            if line and line != said:
                say(line)
                said = line
            notice_at = time.monotonic() + LOOK_SECONDS
        time.sleep(POLL_SECONDS)


def delete(name: str) -> None:
    """Delete the application, and wait until its replicas have ended; those that run finish their requests."""
    try:
        _delete(name)
    except (RayError, RayServeException) as error:
        say(f"Ray Serve does not answer ({first_line(error)}); the application {name} may still be there")


def _delete(name: str) -> None:
    found = find_application(name)
    if found is None:
        return
    # Replicas that have not started have no requests to finish, and Serve would wait for their answer.
    replicas = [replica for deployment in found.deployments.values() for replica in deployment.replicas]
    unready = [replica.actor_name for replica in replicas if replica.state == "STARTING"]
    serve.delete(name, _blocking=False)
    deadline = time.monotonic() + DELETE_SECONDS
    while (found := find_application(name)) is not None:
        if found.status == "DELETING":  # before, Serve would start others in their place
            for actor in unready:
                _kill(actor)
        if time.monotonic() > deadline:
            say(f"Ray Serve has not deleted the application {name} yet; `serve status` shows whether it has")
            return
        time.sleep(POLL_SECONDS)


def _kill(actor: str | None) -> None:
    with contextlib.suppress(ValueError):  # it has ended
        ray.kill(ray.get_actor(actor or "", namespace=NAMESPACE))


def find_application(name: str) -> ApplicationDetails | None:
    """What Serve knows of the application; None when there is no such one."""
    details = _details()
    return None if details is None else details.applications.get(name)


def check_address(host: str, port: int) -> None:
    """Raise BadInput where the Serve of this cluster was started before, with another address than host:port."""
    details = _details()
    there = None if details is None else details.http_options
    if there is not None and (there.host, there.port) != (host, port):
        raise BadInput(
            f"Ray Serve runs on this cluster already and listens on {there.host}:{there.port}, not on {host}:{port}: "
            f"give --host {there.host} --port {there.port}, or end it (serve shutdown)"
        )


def _details() -> ServeInstanceDetails | None:
    # `serve.status()` is made of the same details, and leaves out which replicas have a node.
    client = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else ServeInstanceDetails(**client.get_serve_details())


def _check_failed(found: ApplicationDetails) -> None:
    """Raise ClipmineError if Serve gave up, or if a replica's constructor raised: it would raise again."""
    for deployment in found.deployments.values():
        raised = "failed to start" in deployment.message and TRACE in deployment.message
        if raised or deployment.status == "DEPLOY_FAILED":
            raise ClipmineError(
                f"{deployment.name}: a replica did not start on Ray: {_reason(deployment.message)}; the logs of Ray "
                "say more"
            )
    if found.status == "DEPLOY_FAILED":
        raise ClipmineError(f"the application did not start on Ray: {first_line(Exception(found.message))}")


def _reason(message: str) -> str:
    """The first line of the error in a message of Serve: "store: no such file", or "ValueError: ..." of others."""
    _, traced, after = message.rpartition(TRACE)
    lines = after.splitlines() if traced else message.partition("Error:\n")[2].splitlines()
    said = [line for line in lines if line.strip() and not line.startswith(" ")]
    kind, colon, text = (said or [first_line(Exception(message))])[0].partition(": ")
    return text if colon and kind.startswith("index.errors.") else f"{kind}{colon}{text}"


def _waiting(deployments: Sequence[DeploymentDetails], nodes: Sequence[Node]) -> str | None:
    """One line that says which replicas have no place and which are starting; None where there are neither."""
    parts, homeless, starting = [], [], []
    for deployment in deployments:
        of_it = [replica for replica in deployment.replicas if replica.state == "STARTING"]
        placed = sum(replica.node_id is not None for replica in of_it)
        if placed < len(of_it):
            resources = deployment.required_resources
            needs = describe_needs(resources.get("CPU", 0), resources.get("GPU", 0))
            each = " with" if len(of_it) - placed == 1 else ", each with"
            homeless.append(f"{deployment.name} ({_replicas(len(of_it) - placed)}{each} {needs})")
        if placed:
            starting.append(f"{deployment.name} ({_replicas(placed)})")
    if homeless:
        parts.append(f"waits for a place for {', '.join(homeless)}; the cluster has {describe_nodes(nodes)}")
    if starting:
        parts.append(f"waits until these have opened the model or the store: {', '.join(starting)}")
    return f"serve: {'; '.join(parts)} (Ctrl-C stops)" if parts else None


def _replicas(number: int) -> str:
    return f"{number} replica{'s' if number != 1 else ''}"


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)
