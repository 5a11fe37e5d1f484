"""How many workers a cluster's nodes hold: nodes of several sizes, with and without GPUs, or with nothing yet."""

from __future__ import annotations

import pytest

from jobs.executors.ray_resources import PoolPlan, describe_needs, describe_nodes, plan_pool

HEAD = {"memory": 1e9}  # KubeRay's usual head: no cores for work
SMALL, LARGE = {"CPU": 2.0}, {"CPU": 16.0}
GPU_NODE = {"CPU": 28.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "workers", "threads", "expected"),
    [
        ([LARGE], None, None, PoolPlan(1, 16.0, 0)),
        ([LARGE, LARGE], None, None, PoolPlan(2, 16.0, 0)),
        ([HEAD, SMALL, LARGE], None, None, PoolPlan(9, 2.0, 0)),  # one on the small node, eight on the large one
        ([HEAD, SMALL, LARGE], None, 4, PoolPlan(4, 4.0, 0)),  # the small node holds none
        ([SMALL, LARGE], 4, None, PoolPlan(4, 2.0, 0)),  # by default no more threads than the smallest node has
        ([LARGE], 3, None, PoolPlan(3, 5.0, 0)),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 3, None, PoolPlan(3, 1.0, 0)),  # two cores each: only two nodes' worth
        ([SMALL], 8, None, PoolPlan(8, 0.25, 0)),  # more workers than cores share them
        ([SMALL], None, 64, PoolPlan(1, 2.0, 0)),  # more threads than any node has
    ],
)
def test_workers_fit_into_nodes(
    nodes: list[dict[str, float]], workers: int | None, threads: int | None, expected: PoolPlan
) -> None:
    assert plan_pool(nodes, workers, threads, gpu=False) == expected


def test_a_cluster_without_cores_yet_is_asked_for_what_is_wanted() -> None:
    assert plan_pool([HEAD], None, None, gpu=False) == PoolPlan(1, 1.0, 0)
    assert plan_pool([HEAD], 6, 8, gpu=False) == PoolPlan(6, 8.0, 0)
    assert plan_pool([], None, None, gpu=True) == PoolPlan(1, 1.0, 0)


def test_a_worker_with_a_gpu_has_the_gpus_share_of_its_nodes_cores() -> None:
    assert plan_pool([HEAD, LARGE, GPU_NODE], None, None, gpu=True) == PoolPlan(4, 7.0, 1)
    assert plan_pool([GPU_NODE, {"CPU": 8.0, "GPU": 2.0}], None, None, gpu=True) == PoolPlan(6, 4.0, 1)
    assert plan_pool([GPU_NODE], 2, 3, gpu=True) == PoolPlan(2, 7.0, 1)  # threads are those of a worker without a GPU
    assert plan_pool([GPU_NODE], None, None, gpu=False) == PoolPlan(1, 28.0, 0)
    assert plan_pool([{"GPU": 1.0}], None, None, gpu=True) == PoolPlan(1, 0.0, 1)


def test_words() -> None:
    assert PoolPlan(4, 7.0, 1).needs() == "7 free cores and a free GPU"
    assert PoolPlan(4, 0.5, 0).needs() == "0.5 free core"
    assert describe_needs(2, 0.5) == "2 free cores and 0.5 free GPUs"
    assert describe_nodes([HEAD, SMALL, GPU_NODE, GPU_NODE]) == (
        "2 nodes with 28 cores and 4 GPUs, 1 node with 2 cores, 1 node with 0 cores"
    )
    assert describe_nodes([]) == "no node"
