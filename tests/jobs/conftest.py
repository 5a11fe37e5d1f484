"""Ray and Spark really start, once each for all tests of the jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_up() -> Iterator[None]:
    import ray

    from jobs.executors.on_ray import start_ray

    # 80 MB is all that outcomes need; the default of 30% of memory would be taken from the rest of the tests.
    start_ray(object_store_memory=80 * 2**20)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def spark_up() -> Iterator[None]:
    from jobs.executors.on_spark import open_spark

    with open_spark(workers=2, threads=1):
        yield


@pytest.fixture(params=["local", "ray", "spark"])
def executor(request: pytest.FixtureRequest) -> str:
    """Each of the three executors, ready."""
    name = str(request.param)
    if name != "local":
        request.getfixturevalue(f"{name}_up")
    return name
