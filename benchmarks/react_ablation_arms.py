"""The arms of benchmarks/react_ablation.py: what each trains on and how. Plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

STRATEGIES = (  # the rows of table 2.6 that train
    "locked-image",
    "locked-text",
    "full",
    "gated-text",
    "locked-text-gated-image",
    "gated-both",
)
BEST = "locked-text-gated-image"  # what the thesis advocates, so what the other axes vary


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Attributes:
        name: of the folder's results: plans do not share them.
        scenes: of the corpus; per_type, shots_images, captions: of the held-out tasks.
        k, queries: rows a prompt, and captions that are queries for the retrieval task.
        lr, lr_gated: REACT's 5e-5 and 5e-4 are for 32 epochs of 10M pairs; the small model takes and needs more.
    """

    name: str
    scenes: int
    per_type: int
    shots_images: int
    captions: int
    k: int
    queries: int
    steps: int
    batch: int
    seeds: int
    strategies: tuple[str, ...] = STRATEGIES
    modes: tuple[str, ...] = ("t2t", "t2i")
    sizes: tuple[float, ...] = (0.1, 0.3)
    gammas: tuple[float | None, ...] = (1.0, None)
    sources: tuple[str, ...] = ("random", "pretrain")
    shots: tuple[int | None, ...] = (5, 20)
    retrieval: bool = True
    lr: float = 1e-4
    lr_gated: float = 2e-3
    gated_blocks: int = 4

    @classmethod
    def default(cls) -> Plan:
        """Every axis, three seeds; about an hour on two cores."""
        return cls("default", 20_000, 12, 20, 500, 60, 500, steps=60, batch=64, seeds=3)

    @classmethod
    def quick(cls) -> Plan:
        """One seed of few arms, to see that all of it runs."""
        return cls(
            "quick", 600, 4, 5, 60, 20, 30, steps=6, batch=16, seeds=1, strategies=("locked-text", BEST), modes=(),
            sizes=(0.5,), gammas=(None,), sources=("random",), shots=(5,), retrieval=False,
        )  # fmt: skip

    @classmethod
    def full(cls) -> Plan:
        """Five seeds, ten times the steps, more points on each axis."""
        return cls(
            "full", 20_000, 24, 50, 1000, 60, 2000, steps=600, batch=128, seeds=5, sizes=(0.03, 0.1, 0.3, 0.6),
            gammas=(0.8, 0.95, 1.0, None), shots=(5, 20, 50, None),
        )  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One training. `axis` and `value` say what it varies; all else is the default's."""

    axis: str
    value: str
    task: str
    seed: int
    strategy: str = BEST
    mode: str = "both"
    share: float = 1.0
    gamma: float | None = 0.9
    source: str = "retrieved"

    @property
    def name(self) -> str:
        """For files: no spaces or slashes."""
        return f"{self.task}-{self.axis}-{self.value}-{self.seed}".replace(" ", "_").replace("/", "_")

    def about(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def arms_of(plan: Plan) -> Iterator[Arm]:
    """Every arm of a plan, seeds innermost. The default itself stands in each axis; it is trained once an axis,
    under its own name, so that an axis can be read (and run) alone.
    """
    for task in ("classification", "retrieval") if plan.retrieval else ("classification",):
        gamma = 0.9 if task == "classification" else None  # thesis 2.3: the plain loss for retrieval
        for strategy in plan.strategies:
            for seed in range(plan.seeds):
                yield Arm("strategy", strategy, task, seed, strategy=strategy, gamma=gamma)
    for seed in range(plan.seeds):
        for mode in plan.modes:
            yield Arm("mode", mode, "classification", seed, mode=mode)
        for share in plan.sizes:
            yield Arm("size", f"{share:g}", "classification", seed, share=share)
        for found in plan.gammas:
            yield Arm("gamma", "none" if found is None else f"{found:g}", "classification", seed, gamma=found)
        for source in plan.sources:
            yield Arm("source", source, "classification", seed, source=source)
        if plan.shots:
            yield Arm("shots", "after", "classification", seed)
