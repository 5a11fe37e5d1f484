"""What the tests of the jobs share: one Ray and one Spark for all of them, and ways to run commands."""

from __future__ import annotations

import functools
import gc
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from index.store.embedding_store import EmbeddingStore
from tests.customize.conftest import known_store, small_export, small_selection
from tests.jobs.running import Fails, Run, fail_here, run_here

__all__ = ["known_store", "small_export", "small_selection"]


@pytest.fixture(scope="session")
def worker_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where workers of Ray and Spark keep copies of remote files: on a cluster, not where the driver does."""
    return tmp_path_factory.mktemp("worker-cache")


@pytest.fixture(scope="session")
def ray_up(worker_cache: Path) -> Iterator[None]:
    import ray

    from jobs.executors.on_ray import start_ray

    # 80 MB is all that outcomes need; the default of 30% of memory would be taken from the rest of the tests.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPMINE_CACHE", str(worker_cache))
        start_ray(object_store_memory=80 * 2**20)
    yield
    ray.shutdown()
    # On a busy machine Ray leaves a process of its own unreaped; collecting its handle later would fail another test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def spark_up(worker_cache: Path) -> Iterator[None]:
    from jobs.executors.on_spark import open_spark

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPMINE_CACHE", str(worker_cache))
        opened = open_spark(workers=2, threads=1)
        opened.__enter__()
    yield
    opened.__exit__(None, None, None)


@pytest.fixture(scope="session")
def spark_session(spark_up: None) -> Any:
    """A session of that Spark."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


@pytest.fixture(params=["local", "ray", "spark"])
def executor(request: pytest.FixtureRequest) -> str:
    """Each of the three executors, ready."""
    name = str(request.param)
    if name != "local":
        request.getfixturevalue(f"{name}_up")
    return name


@pytest.fixture
def clipmine(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must succeed; returns the lines that it printed on stdout."""
    return functools.partial(run_here, capfd)


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that must fail; returns its one line and its exit status."""
    return functools.partial(fail_here, capfd)


@pytest.fixture
def store(small_store: EmbeddingStore, tmp_path: Path) -> Path:
    """A copy of the shared store that a test may change; its corpus is the shared one."""
    copy = tmp_path / "store"
    shutil.copytree(small_store.path, copy)
    return copy


@pytest.fixture
def concepts(tmp_path: Path) -> Path:
    path = tmp_path / "concepts.txt"
    path.write_text("red circle\nblue square\n")
    return path
