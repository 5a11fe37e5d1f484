"""The pilot gate: is what retrieval finds what was asked for, and is there anything to learn from it?

Precision is measured against the scenes' truth: the share of the selected rows whose picture shows the concept that
found them, and the share whose caption names it as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.react_gain.arms import Plan
from benchmarks.react_gain.world import Truth, World
from index.store.embedding_store import EmbeddingStore
from retrieval.selection import Selection

Figures = dict[str, dict[str, float]]
LOSS_BATCH = 256
LOSS_BATCHES = 16
MINIMUM = 0.5  # least precision with which the grid is worth its time
QUANTILES = (0.25, 0.5)  # a floor is the score below which this share of the selected rows lies


def precision(selection: Selection, truth: Truth, concepts: tuple[str, ...], **where: Any) -> dict[str, float]:
    """Rows, the share that shows the concept, the share that shows and names it, and concepts without rows."""
    return _shares(*_found(selection, concepts, **where), truth, concepts)


def _shares(
    rows: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64], truth: Truth, concepts: tuple[str, ...]
) -> dict[str, float]:
    if not len(rows):
        return {"rows": 0.0, "shows": math.nan, "fits": math.nan, "chance": math.nan, "empty": float(len(concepts))}
    return {
        "rows": float(len(rows)),
        "shows": float(truth.shows[rows, numbers].mean()),
        "fits": float(truth.fitting[rows, numbers].mean()),
        "chance": float(truth.shows.mean()),
        "empty": float(len(concepts) - len(np.unique(numbers))),
    }


def _found(
    selection: Selection, concepts: tuple[str, ...], *, both_ways: bool = False, floors: dict[str, float] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row ids and concept numbers of the selection's rows; both_ways: only those that both modes found."""
    place = {name: number for number, name in enumerate(concepts)}
    rows: list[int] = []
    numbers: list[int] = []
    for table in selection.tables(["row_id", "concept", "both_ways"]):
        for row, concept, both in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
            if both or not both_ways:
                rows.append(row)
                numbers.append(place[concept])
    return np.array(rows, np.int64), np.array(numbers, np.int64)


def floor_of(selection: Selection, quantile: float) -> dict[str, Any]:
    """min_score_t2i and min_score_t2t at a quantile of the selection's scores of each mode."""
    scores: dict[str, list[float]] = {"t2i": [], "t2t": []}
    for table in selection.tables(["mode", "score"]):
        for mode, score in zip(table["mode"].to_pylist(), table["score"].to_pylist(), strict=True):
            scores[mode].append(score)
    return {f"min_score_{mode}": round(float(np.quantile(s, quantile)), 4) for mode, s in scores.items() if s}


def precision_by_rule(world: World) -> Figures:
    """Precision of the selections of the pool, by mode, number of pairs and rule."""
    plan, split = world.plan, ("web_pool", world.plan.pool)
    truth, figures = world.truth(*split), {}
    for mode in ("t2t", "t2i", "both"):
        for cap in dict.fromkeys((10, *plan.sizes, plan.per_concept)):
            found = world.selection(mode, *split, k=plan.k, per_concept=cap)
            figures[f"{mode}, {cap} a concept"] = precision(found, truth, world.concepts)
    all_of = world.selection("both", *split, k=plan.k, per_concept=None)
    figures["both, all candidates"] = precision(all_of, truth, world.concepts)
    figures["both, all candidates that both modes found"] = precision(all_of, truth, world.concepts, both_ways=True)
    rows, numbers = np.nonzero(truth.says)
    figures["captions that have the name, found as a string"] = _shares(rows, numbers, truth, world.concepts)
    for cross in ("keep-all", "drop"):
        found = world.selection("both", *split, k=plan.k, per_concept=None, cross_concept=cross)
        figures[f"both, all candidates, cross-concept {cross}"] = precision(found, truth, world.concepts)
    for quantile in QUANTILES:
        found = world.selection("both", *split, k=plan.k, per_concept=None, **floor_of(all_of, quantile))
        figures[f"both, all candidates, score above the {quantile:.0%} quantile of its mode"] = precision(
            found, truth, world.concepts
        )
    return figures


def loss_above_floor(
    store: EmbeddingStore, rows: npt.NDArray[np.int64], scale: float, truth: Truth
) -> dict[str, float]:
    """CLIP's loss of the base on batches of the pairs, and the noise floor of that loss.

    The floor is the share of wrong and off-topic captions times the loss of guessing: what a model that knew everything
    about the other pairs would lose by them.
    """
    chance = np.random.default_rng(0)
    losses: list[float] = []
    size = min(LOSS_BATCH, len(rows))
    for _ in range(LOSS_BATCHES):
        batch = np.sort(chance.choice(rows, size, replace=False))
        image, text = (store.gather(kind, batch).astype(np.float64) for kind in ("image", "text"))
        logits = scale * image @ text.T
        losses.append((_cross_entropy(logits) + _cross_entropy(logits.T)) / 2)
    wrong = float(np.mean([truth.kinds[row] in ("wrong", "off_topic") for row in rows]))
    return {"loss": float(np.mean(losses)), "floor": wrong * math.log(size), "wrong captions": wrong}


def _cross_entropy(logits: npt.NDArray[np.float64]) -> float:
    wide = logits - logits.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(wide).sum(1)) - np.diag(wide)))


def gate(figures: Figures, loss: dict[str, float], plan: Plan) -> dict[str, bool]:
    """Whether the grid is worth its time: the pairs are about the concepts, and the base has not learned them yet."""
    return {
        f"at least {MINIMUM:.0%} of the pairs show their concept": figures[f"both, {plan.per_concept} a concept"][
            "shows"
        ]
        >= MINIMUM,
        "the loss is above its floor by half a nat": loss["loss"] >= loss["floor"] + 0.5,
    }
