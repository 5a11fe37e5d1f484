"""The arms of the ablation: which data each one trains on, and how. Plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
FREE_TEXT = ("locked-image", "full", "gated-text", "gated-both")
BEST = "locked-text-gated-image"  # the thesis recommends it, so the other axes vary it


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        name: part of result file names, since plans do not share results.
        scenes: scenes of the corpus.
        per_type, shots_images, captions: test images a type, training images a type, and scenes of the held-out tasks.
        k: rows retrieved a prompt.
        queries: captions that are queries for the retrieval task.
        lr, lr_gated: the best of three each on validation images (`--only "learning rate"`); REACT's 5e-5 and 5e-4
            are for 32 epochs of 10M pairs.
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
    shots: tuple[int | None, ...] = (5, 20, None)
    retrieval: bool = True
    lr: float = 1e-4
    lr_gated: float = 4e-3
    gated_blocks: int = 4

    @classmethod
    def default(cls) -> Plan:
        """Every axis, three seeds: 72 trainings."""
        return cls("default", 20_000, 30, 40, 500, 60, 500, steps=80, batch=64, seeds=3)

    @classmethod
    def quick(cls) -> Plan:
        """Few arms with one seed, to check that everything runs."""
        return cls(
            "quick", 600, 4, 5, 60, 20, 30, steps=6, batch=16, seeds=1, strategies=("locked-text", BEST), modes=(),
            sizes=(0.5,), gammas=(None,), sources=("random",), shots=(5,), retrieval=False,
        )  # fmt: skip

    @classmethod
    def full(cls) -> Plan:
        """Five seeds, ten times the steps of twice the pairs, more points on each axis."""
        return cls(
            "full", 20_000, 24, 50, 1000, 60, 2000, steps=600, batch=128, seeds=5, sizes=(0.03, 0.1, 0.3, 0.6),
            gammas=(0.8, 0.95, 1.0, None), shots=(5, 20, 50, None),
        )  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One training. `axis` and `value` name the setting that differs from the default."""

    axis: str
    value: str
    task: str
    seed: int
    strategy: str = BEST
    mode: str = "both"
    share: float = 1.0
    gamma: float | None = 0.9
    source: str = "retrieved"
    lr: float | None = None

    @property
    def name(self) -> str:
        """A name for files, without spaces and slashes."""
        return f"{self.task}-{self.axis}-{self.value}-{self.seed}".replace(" ", "_").replace("/", "_")

    def about(self) -> dict[str, Any]:
        """The arm as a dict."""
        return asdict(self)


BASE = Arm("base", "before", "both", 0, strategy="none")


def arms_of(plan: Plan, only: Sequence[str] | None = None) -> Iterator[Arm]:
    """The arms of a plan, or those of some axes; the seeds of an arm are neighbours.

    Every axis varies the same default arm, that of the axis `strategy` with BEST, which is trained once.
    """
    # Retrieval uses the plain loss, without gamma: thesis 2.3.
    found = list(_classification(plan)) + (list(_strategies(plan, "retrieval", None)) if plan.retrieval else [])
    yield from (arm for arm in found if only is None or arm.axis in only)
    if only and "learning rate" in only:
        for strategy, rates in (
            ("none", (0.0,)),
            ("locked-text", (3e-5, 1e-4, 2e-4)),
            (BEST, (5e-4, 2e-3, 4e-3)),
        ):
            for rate in rates:
                yield Arm("learning rate", f"{strategy} {rate:g}", "classification", 0, strategy=strategy, lr=rate)


def _strategies(plan: Plan, task: str, gamma: float | None) -> Iterator[Arm]:
    for strategy in plan.strategies:
        for seed in range(plan.seeds):
            yield Arm("strategy", strategy, task, seed, strategy=strategy, gamma=gamma)


def _classification(plan: Plan) -> Iterator[Arm]:
    yield from _strategies(plan, "classification", 0.9)
    seeds = range(plan.seeds)
    # With gamma below 1, a text tower that is trained may map all texts to one vector: see docs/react.md.
    free = [strategy for strategy in plan.strategies if strategy in FREE_TEXT]
    varied: list[tuple[str, str, dict[str, Any]]] = [
        *(("free text, gamma 1", strategy, {"strategy": strategy, "gamma": 1.0}) for strategy in free),
        *(("mode", mode, {"mode": mode}) for mode in plan.modes),
        *(("size", f"{share:g}", {"share": share}) for share in plan.sizes),
        *(("gamma", "none" if found is None else f"{found:g}", {"gamma": found}) for found in plan.gammas),
        *(("source", source, {"source": source}) for source in plan.sources),
    ]
    for axis, value, choice in varied:
        for seed in seeds:
            yield Arm(axis, value, "classification", seed, **choice)
