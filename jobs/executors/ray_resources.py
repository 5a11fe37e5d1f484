"""How many workers a Ray cluster's nodes hold, and what each of them is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Node", "PoolPlan", "describe_needs", "describe_nodes", "living_nodes", "plan_pool"]

# The resources of a node, as Ray names them: CPU, GPU, ...
Node = Mapping[str, float]


@dataclass(frozen=True)
class PoolPlan:
    """workers: how many at most; cpus: cores that Ray sets aside for each, below 1 where workers share a core."""

    workers: int
    cpus: float
    gpus: int

    def needs(self) -> str:
        """What one worker needs, in words."""
        return describe_needs(self.cpus, self.gpus)


def plan_pool(nodes: Sequence[Node], workers: int | None, threads: int | None, gpu: bool) -> PoolPlan:
    """The pool for a cluster of these nodes. Each worker runs on one node, so each node holds a whole number of them.

    Args:
        nodes: resources of each node; a cluster that grows with its work may have none with cores yet.
        workers: how many are wanted; by default one a GPU, or as many as the nodes hold.
        threads: the most cores of a worker without a GPU; by default those of the smallest node.
        gpu: a worker has a GPU to itself, where there are GPUs, and the GPU's share of its node's cores.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1] if gpu else []
    if with_gpus:
        share = min(node.get("CPU", 0) / int(node["GPU"]) for node in with_gpus)
        gpus = sum(int(node["GPU"]) for node in with_gpus)
        return PoolPlan(workers or gpus, float(int(share)), 1)
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        return PoolPlan(workers or 1, float(threads or 1), 0)
    most = min(threads or min(cores), max(cores))
    if workers is None:
        return PoolPlan(max(1, _held(cores, most)), float(most), 0)
    for each in range(most, 0, -1):
        if _held(cores, each) >= workers:
            return PoolPlan(workers, float(each), 0)
    return PoolPlan(workers, sum(cores) / workers, 0)


def _held(cores: Sequence[int], each: int) -> int:
    return sum(own // each for own in cores)


def describe_needs(cpus: float, gpus: float) -> str:
    """What a worker or a replica needs, in words: "2 free cores and a free GPU"."""
    cores = f"{cpus:g} free core{'s' if cpus > 1 else ''}"
    if not gpus:
        return cores
    return f"{cores} and {'a free GPU' if gpus == 1 else f'{gpus:g} free GPUs'}"


def living_nodes() -> list[Node]:
    """The resources of each node that Ray can reach."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def describe_nodes(nodes: Sequence[Node]) -> str:
    """The nodes' sizes in words: "2 nodes with 8 cores and 1 GPU, 1 node with 0 cores"."""
    kinds: dict[tuple[int, int], int] = {}
    for node in nodes:
        kind = int(node.get("CPU", 0)), int(node.get("GPU", 0))
        kinds[kind] = kinds.get(kind, 0) + 1
    parts = []
    for (cores, gpus), count in sorted(kinds.items(), reverse=True):
        text = f"{count} node{'s' if count != 1 else ''} with {cores} core{'s' if cores != 1 else ''}"
        parts.append(text + (f" and {gpus} GPU{'s' if gpus != 1 else ''}" if gpus else ""))
    return ", ".join(parts) or "no node"
