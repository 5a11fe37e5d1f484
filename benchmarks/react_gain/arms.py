"""The arms of the grid: which pairs each one trains on, and how. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

BEST = "locked-text-gated-image"  # the thesis recommends it, so the other axes vary it
# Prompts in the style of the corpus's alt text. The tests use them too.
TEMPLATES = ("{}", "a {}", "photo: {}", "{} - free image")


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        name: part of file names, since plans do not share results.
        pool, pretrain: scenes of the pool, and of the base's own pretraining data.
        small_pool: scenes of the smaller pool (F3); a part of the pool.
        concepts: domain concepts to customize for.
        k: rows that each prompt retrieves in each mode.
        per_concept: most pairs of a concept in the default arm.
        sizes: other values of per_concept.
        per_type, other: test pictures of a domain concept, and of each other type.
        validation, shots_images: further pictures of a domain concept, to choose by and to train probes on.
        noises: shares of the pairs whose caption is replaced by that of another scene.
    """

    name: str
    pool: int
    pretrain: int
    small_pool: int
    concepts: int
    k: int
    per_concept: int
    sizes: tuple[int, ...]
    per_type: int
    other: int
    validation: int
    shots_images: int
    shots: tuple[int | None, ...]
    noises: tuple[float, ...]
    strategies: tuple[str, ...]
    steps: int
    batch: int
    seeds: int
    gated_blocks: int = 3
    lr: float = 2e-4
    lr_gated: float = 1e-3
    lr_alpha: float = 2e-2

    @classmethod
    def default(cls) -> Plan:
        """The grid: every axis, three seeds."""
        return cls(
            "default", 40_000, 100_000, 10_000, 100, 200, 30, (10, 100), 40, 6, 20, 40, (5, 20, None), (),
            ("locked-text", "locked-image", "full", "gated-both"), steps=120, batch=256, seeds=3,
        )  # fmt: skip

    @classmethod
    def pilot(cls) -> Plan:
        """The pilot's measures and one short training of the first arms, on a small pool."""
        return replace(
            cls.default(), name="quick", pool=6_000, k=40, per_concept=20, sizes=(), per_type=10, other=2,
            validation=2, shots_images=2, shots=(), strategies=(), steps=30, batch=128, seeds=1,
        )  # fmt: skip

    @classmethod
    def full(cls) -> Plan:
        """The whole pool, twice the steps, five seeds, and the noise of the captions as a dial."""
        return replace(
            cls.default(), name="full", pool=200_000, small_pool=50_000, k=800, sizes=(10, 100, 300),
            steps=240, seeds=5, noises=(0.2, 0.4, 0.6),
            strategies=(*cls.default().strategies, "gated-text"),
        )  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One training. `axis` and `value` name the setting that differs from the default."""

    axis: str
    value: str
    seed: int = 0
    strategy: str = BEST
    mode: str = "both"
    per_concept: int | None = None  # None: the plan's
    source: str = "retrieved"  # retrieved, random, named (captions that have the name), oracle or pretrain
    small_pool: bool = False
    gamma: float | None = 1.0  # only equal texts count as one: see docs/react.md
    noise: float = 0.0
    lr: float | None = None  # None: the plan's
    lr_alpha: float | None = None
    steps: int | None = None
    to_choose: bool = False  # measured on validation pictures instead of test pictures

    @property
    def name(self) -> str:
        """A name for files, without spaces and slashes."""
        return f"{self.axis}-{self.value}-{self.seed}".replace(" ", "_").replace("/", "_")

    def about(self) -> dict[str, Any]:
        """The arm as a dict."""
        return asdict(self)


BASE = Arm("base", "before", strategy="none")
DEFAULT = Arm("pairs", "retrieved")


def arms_of(plan: Plan, only: Sequence[str] | None = None) -> list[Arm]:
    """The arms of a plan, or those of some axes: first all of the first seed, the most telling ones first.

    Every axis varies the same default arm, which is trained once.
    """
    varied = [
        DEFAULT,
        replace(DEFAULT, value="random", source="random"),
        replace(DEFAULT, value="oracle", source="oracle"),
        replace(DEFAULT, value="named", source="named"),
        *(Arm("strategy", name, strategy=name) for name in plan.strategies),
        *(Arm("size", str(size), per_concept=size) for size in plan.sizes),
        *(Arm("mode", mode, mode=mode) for mode in ("t2t", "t2i") if plan.strategies),
        *(Arm("source", name, source=name) for name in ("pretrain",) if plan.strategies),
        *(Arm("source", "small pool", small_pool=True) for _ in range(1) if plan.strategies),
        *(Arm("noise", f"{noise:g}", noise=noise) for noise in plan.noises),
    ]
    chosen = [arm for arm in varied if only is None or arm.axis in only]
    return [replace(arm, seed=seed) for seed in range(plan.seeds) for arm in chosen]


def tuning_arms(plan: Plan) -> list[Arm]:
    """Trainings to choose the recipe by, on validation pictures: rates, the alphas' rates and gamma."""
    tuned = Arm("tuning", "", to_choose=True)
    gated = [(rate, alpha) for rate in (5e-4, 1e-3, 2e-3) for alpha in (1e-3, 2e-2, 1e-1)]
    direct = [(name, rate) for name in ("locked-text", "locked-image") for rate in (1e-4, 3e-4, 1e-3)]
    return [
        replace(tuned, value="before", strategy="none"),
        *(replace(tuned, value=f"gated {rate:g}, alpha {alpha:g}", lr=rate, lr_alpha=alpha) for rate, alpha in gated),
        *(replace(tuned, value=f"{name} {rate:g}", strategy=name, lr=rate) for name, rate in direct),
        *(replace(tuned, value=f"gated, gamma {gamma:g}", gamma=gamma) for gamma in (0.9, 0.98)),
    ]
