"""The `ray` executor: the cluster at RAY_ADDRESS, or a Ray started here.

Only items and outcomes pass through Ray; the work's function reads and writes files itself.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

from index.cores import usable_cores
from index.errors import BadInput, ClipmineError
from jobs.executors.attempts import ROOT_PACKAGES, Outcome, Work

# A call of Ray's protocol without arguments, which a cluster with tokens refuses without one.
_CLUSTER_ID = "/ray.rpc.NodeInfoGcsService/GetClusterId"
ANSWER_SECONDS = 10.0  # how long the cluster at RAY_ADDRESS may take to accept a connection


def run(work: Work, workers: int | None, threads: int | None, gpu: bool) -> Generator[Outcome]:
    """Yield outcomes as items finish; closing the generator ends the workers. Ray keeps running for the next job."""
    start_ray()
    from jobs.executors.ray_pool import run_pool

    yield from run_pool(work, workers, threads, gpu)


def start_ray(object_store_memory: int | None = None) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start a Ray on this machine; do nothing if this process has a Ray.

    No other cluster is joined: without an address Ray would join the one that /tmp/ray/ray_current_cluster names, which
    may be another user's, or dead. object_store_memory: bytes, for a Ray started here; by default 30% of memory.

    Raises:
        BadInput: no cluster answers at RAY_ADDRESS, or not to us: it has another version, or asks for a token.
        ClipmineError: Ray's daemons failed to start here twice.
    """
    # Under `uv run`, Ray would rebuild the environment for every worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Ray's future default, set to avoid its warning: a task without GPUs keeps CUDA_VISIBLE_DEVICES.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Serve replaces an HTTP proxy that is not ready within 5 s; on a busy machine none ever is.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    import ray

    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _join(address, quiet)
        return
    # Ray gives its workers niceness 15, which starves them beside any other program.
    os.environ.setdefault("RAY_worker_niceness", "0")
    own: dict[str, Any] = {"num_cpus": usable_cores(), "include_dashboard": False}
    own["object_store_memory"] = object_store_memory
    try:
        ray.init(address="local", **own, **quiet)
    except Exception:  # Ray raises a bare Exception when a daemon starts too slowly, as on a busy machine
        ray.shutdown()
        try:
            ray.init(address="local", **own, **quiet)
        except Exception as error:
            ray.shutdown()
            line = str(error).strip().partition("\n")[0]
            raise ClipmineError(f"Ray did not start here ({line}); run again, or use --executor local") from error


def _join(address: str, quiet: dict[str, Any]) -> None:
    import ray

    _check_answers(address)
    # Send our packages: the cluster's nodes may not have them, or have another version of them.
    folders = [next(iter(importlib.import_module(name).__path__)) for name in ROOT_PACKAGES]
    try:
        ray.init(address=address, runtime_env={"py_modules": folders}, **quiet)
    except ConnectionError as error:
        raise BadInput(f"RAY_ADDRESS {address}: no Ray cluster answers there") from error
    except RuntimeError as error:
        if "Version mismatch" not in str(error):
            raise
        found = " ".join(str(error).partition("Version mismatch: ")[2].split())
        raise BadInput(f"RAY_ADDRESS {address}: Ray and Python must be those of the cluster. {found}") from error


def _check_answers(address: str) -> None:
    """BadInput when nothing listens at HOST:PORT or ray://HOST:PORT, or it asks for a token; Ray would try for long."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():  # "auto" and "local", which Ray resolves, or an address that it rejects itself
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"RAY_ADDRESS {address}: no Ray cluster answers there ({error})") from error
    if address.startswith("ray://") or os.environ.get("RAY_USE_TLS") == "1":
        return
    token = _token()
    if _admits(f"{host}:{port}", ""):
        return
    if token and _admits(f"{host}:{port}", token):
        _use_tokens()
        return
    remedy = "another token than ours" if token else "a token"
    raise BadInput(
        f"RAY_ADDRESS {address}: the cluster asks for {remedy}; set RAY_AUTH_MODE=token and its token in "
        "RAY_AUTH_TOKEN, or the token's file in RAY_AUTH_TOKEN_PATH"
    )


def _admits(address: str, token: str) -> bool:
    """Whether the cluster answers a call with this token, or "" for none; also where it fails for another reason."""
    import grpc

    asked = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_CLUSTER_ID)(b"", timeout=ANSWER_SECONDS, metadata=asked)
        except grpc.RpcError as error:
            return bool(error.code() != grpc.StatusCode.UNAUTHENTICATED)
    return True


def _use_tokens() -> None:
    """Let this process's Ray send its token.

    `ray start` asks for tokens wherever the machine has one, as the first Ray that starts there makes; a driver that
    joins does not send it unless RAY_AUTH_MODE says so.
    """
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    from ray import _raylet

    _raylet.Config.initialize("")  # type: ignore[attr-defined]  # Ray read the variable when it was imported


def _token() -> str:
    """The token that Ray would send to a cluster; "" for none."""
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return ""
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"].strip()
    try:
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser().read_text().strip()
    except OSError:
        return ""
