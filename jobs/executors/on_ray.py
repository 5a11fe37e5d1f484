"""The `ray` executor: the cluster at RAY_ADDRESS, or a Ray started here.

Only items and outcomes pass through Ray; the work's function reads and writes files itself.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Generator
from typing import Any

from index.cores import usable_cores
from index.corpus.ray_address import check_answers
from index.errors import BadInput, ClipmineError
from jobs.executors.attempts import ROOT_PACKAGES, Gpu, Outcome, Work


def run(work: Work, workers: int | None, threads: int | None, gpu: Gpu) -> Generator[Outcome]:
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

    check_answers(address)
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
