"""Selection rules: which candidates stay, in one stated order, every loss counted.

The order, and why:

    1. forgotten          rows that were forgotten since the search; nothing may return them
    2. min-score          below it a row is not wanted for any reason, and it costs no look-up
    3. both-modes         a row that T2I and T2T both found is kept once, under the mode that ranked it higher
    4. min-side           small images, by the metadata's width and height
    5. exclude            near-duplicates of an evaluation set's images, before any comparison among our own rows: a row
                          that must go may not first push out a good one as its duplicate
    6. cross-concept      a row that several concepts want (best: the one where it stands highest; drop: none; keep-all)
    7. exact-duplicates   the same bytes (SHA-256) under several row ids
    8. near-duplicates    images within a cosine of each other; after the cheap rules, since it compares rows with rows
    9. cap                last, so that it counts only rows that would stay

Among duplicates the better ranked row stays. Rules 7 and 8 look across concepts, except under keep-all, where a row may
serve several concepts and each concept is looked at alone. Overflow candidates (beyond K, kept for topping up) pass the
same rules after the others and never push one of them out. T2I and T2T scores live on different scales (the modality
gap), so scores are compared inside a mode only, ranks or standardized scores across.

Knows the arrays and the store's columns, no queries and no files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from index.encoder.model_spec import check_same_model
from index.errors import BadInput
from index.graph.exact import best_device, exact_top_k
from index.store.embedding_store import EmbeddingStore
from retrieval.search.candidates import MODES, Candidates, mark_both_ways, place_in_group
from retrieval.search.duplicates import near_duplicates, repeats, sha256_words

__all__ = ["RULE_ORDER", "Loss", "RuleOutcome", "Rules", "apply_rules", "check_exclude"]

CrossConcept = Literal["best", "keep-all", "drop"]
BoolArray = npt.NDArray[np.bool_]
_BLOCK = 65_536

# clip-retrieval's own threshold for two images being the same.
SAME_IMAGE = 0.94


@dataclass(frozen=True)
class Rules:
    """What to leave out. None switches a rule off.

    min_score: cosine floor for both modes; min_score_t2i and min_score_t2t: for one (they win over min_score).
    min_side: pixels of the shorter side; a row of unknown size counts as too small. exclude: path of a store, by the
    same model, whose images must not be selected; exclude_threshold: the cosine from which an image counts as one of
    them. cross_concept: best, keep-all or drop. exact_duplicates: drop repeated bytes. near_duplicates: cosine from
    which two images are one (0.94 in clip-retrieval; it depends on the model, so there is no default). cap: rows a
    concept.
    """

    min_score: float | None = None
    min_score_t2i: float | None = None
    min_score_t2t: float | None = None
    min_side: int | None = None
    exclude: str | None = None
    exclude_threshold: float = SAME_IMAGE
    cross_concept: CrossConcept = "best"
    exact_duplicates: bool = True
    near_duplicates: float | None = None
    cap: int | None = None

    def __post_init__(self) -> None:
        if self.cross_concept not in get_args(CrossConcept):
            raise BadInput(
                f"cross-concept {self.cross_concept!r}: unknown; valid ones: {', '.join(get_args(CrossConcept))}"
            )
        for name in ("min_score", "min_score_t2i", "min_score_t2t", "exclude_threshold", "near_duplicates"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise BadInput(f"{name.replace('_', '-')} {value}: is a cosine, between -1 and 1")
        for name in ("min_side", "cap"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"{name.replace('_', '-')} {value}: must be at least 1")

    def floor(self, mode: str) -> float | None:
        own = self.min_score_t2i if mode == "t2i" else self.min_score_t2t
        return self.min_score if own is None else own

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Loss:
    """What one rule dropped: int64 [number of concepts], of the candidates within K and of the overflow."""

    rule: str
    by_concept: npt.NDArray[np.int64]
    overflow: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        return int(self.by_concept.sum())


@dataclass(frozen=True)
class RuleOutcome:
    """`kept` and `reserve` in order of concept, then quality; len(candidates within K) = len(kept) + all losses."""

    kept: Candidates
    reserve: Candidates
    losses: tuple[Loss, ...]


@dataclass(frozen=True)
class _Context:
    rules: Rules
    store: EmbeddingStore
    excluded: EmbeddingStore | None


def check_exclude(store: EmbeddingStore, rules: Rules) -> EmbeddingStore | None:
    """Open the store that `rules.exclude` names; ModelMismatch when another model made it."""
    if rules.exclude is None:
        return None
    excluded = EmbeddingStore.open(rules.exclude)
    check_same_model(excluded.fingerprint, store.fingerprint, f"the store to exclude, {rules.exclude},")
    return excluded


def apply_rules(
    candidates: Candidates, rules: Rules, store: EmbeddingStore, *, concepts: int, reserve: float
) -> RuleOutcome:
    """Apply every rule in RULE_ORDER, then the cap.

    concepts: how many there are; reserve: rows held back for topping up, as a share of each concept's kept rows.
    """
    context = _Context(rules, store, check_exclude(store, rules))
    losses: list[Loss] = []
    left = mark_both_ways(candidates.take(_best_first(candidates)))
    for name, rule in RULE_ORDER:
        dropped = rule(left, context)
        losses.append(_loss(name, left.take(dropped), concepts))
        left = left.take(~dropped)
    left = left.take(np.lexsort((left.mode, left.rank, ~left.primary, left.concept)))
    place = place_in_group(left.concept)
    capped = left.primary & (place >= rules.cap) if rules.cap is not None else np.zeros(len(left), np.bool_)
    losses.append(_loss("cap", left.take(capped), concepts))
    kept = left.take(left.primary & ~capped)
    # Capped rows lead the reserve: they were ranked above all overflow.
    held = left.take(~left.primary | capped)
    quota = np.ceil(reserve * np.bincount(kept.concept, minlength=concepts)).astype(np.int64)
    held = held.take(place_in_group(held.concept) < quota[held.concept])
    return RuleOutcome(kept, held, tuple(losses))


def _loss(rule: str, dropped: Candidates, concepts: int) -> Loss:
    return Loss(
        rule,
        np.bincount(dropped.concept[dropped.primary], minlength=concepts),
        np.bincount(dropped.concept[~dropped.primary], minlength=concepts),
    )


def _best_first(candidates: Candidates) -> npt.NDArray[np.int64]:
    """The order in which rows win over others: within K before overflow, then by rank, so that concepts take turns."""
    return np.lexsort(
        (candidates.row_id, candidates.mode, candidates.concept, candidates.rank, ~candidates.primary)
    ).astype(np.int64)


def _none(candidates: Candidates) -> BoolArray:
    return np.zeros(len(candidates), np.bool_)


def _forgotten(candidates: Candidates, context: _Context) -> BoolArray:
    return context.store.is_forgotten(candidates.row_id)


def _min_score(candidates: Candidates, context: _Context) -> BoolArray:
    floors = [context.rules.floor(mode) for mode in MODES]
    floor = np.array([-np.inf if value is None else value for value in floors], np.float32)
    below: BoolArray = candidates.score < floor[candidates.mode]
    return below


def _both_modes(candidates: Candidates, context: _Context) -> BoolArray:
    return repeats(candidates.concept, candidates.row_id)


def _min_side(candidates: Candidates, context: _Context) -> BoolArray:
    least = context.rules.min_side
    if least is None:
        return _none(candidates)
    rows, place = np.unique(candidates.row_id, return_inverse=True)
    small = np.zeros(len(rows), np.bool_)
    for start in range(0, len(rows), _BLOCK):
        sizes = context.store.metadata(rows[start : start + _BLOCK], ["width", "height"])
        sides = [np.array(sizes.column(name).to_pylist(), dtype=np.float64) for name in ("width", "height")]
        if np.isnan(np.minimum(*sides)).all():
            raise BadInput(f"min-side {least}: {context.store.path} holds no image sizes; leave the rule out")
        small[start : start + _BLOCK] = ~(np.minimum(*sides) >= least)
    dropped: BoolArray = small[place]
    return dropped


def _exclude(candidates: Candidates, context: _Context) -> BoolArray:
    if context.excluded is None:
        return _none(candidates)
    rows, place = np.unique(candidates.row_id, return_inverse=True)
    near = np.zeros(len(rows), np.bool_)
    device = best_device()
    for start in range(0, len(rows), _BLOCK):
        vectors = context.store.gather("image", rows[start : start + _BLOCK])
        nearest, _ = exact_top_k(context.excluded.blocks("image"), vectors, 1, device=device)
        near[start : start + _BLOCK] = nearest[:, 0] >= context.rules.exclude_threshold
    dropped: BoolArray = near[place]
    return dropped


def _cross_concept(candidates: Candidates, context: _Context) -> BoolArray:
    policy = context.rules.cross_concept
    if policy == "keep-all" or not len(candidates):
        return _none(candidates)
    order = np.lexsort((candidates.concept, -_standardized(candidates), ~candidates.primary, candidates.row_id))
    dropped = np.ones(len(candidates), np.bool_)
    rows = candidates.row_id[order]
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    dropped[order[starts]] = False
    if policy == "drop":
        # Overflow alone is no claim: a row that one concept holds within K stays there.
        claims = np.add.reduceat(candidates.primary[order].astype(np.int64), starts)
        lengths = np.diff(np.r_[starts, len(order)])
        contested = (claims > 1) | ((claims == 0) & (lengths > 1))
        dropped[order[starts[contested]]] = True
    return dropped


def _standardized(candidates: Candidates) -> npt.NDArray[np.float64]:
    """Scores by their distance from the mode's mean, in standard deviations: comparable across modes."""
    result = candidates.score.astype(np.float64)
    for mode in range(len(MODES)):
        own = candidates.mode == mode
        if own.any():
            result[own] = (result[own] - result[own].mean()) / (result[own].std() or 1.0)
    return result


def _exact_duplicates(candidates: Candidates, context: _Context) -> BoolArray:
    if not context.rules.exact_duplicates or not len(candidates):
        return _none(candidates)
    rows, place = np.unique(candidates.row_id, return_inverse=True)
    parts = [
        sha256_words(context.store.metadata(rows[start : start + _BLOCK], ["sha256"]).column("sha256"))
        for start in range(0, len(rows), _BLOCK)
    ]
    high, low, known = (np.concatenate(arrays)[place] for arrays in zip(*parts, strict=True))
    alone = context.rules.cross_concept == "keep-all"
    group = candidates.concept if alone else np.zeros(len(candidates), np.int32)
    # The row id makes a row without a known digest equal to itself only; for the others it is left out.
    own = np.where(known, np.int64(-1), candidates.row_id)
    return repeats(group, own, high, low)


def _near_duplicates(candidates: Candidates, context: _Context) -> BoolArray:
    threshold = context.rules.near_duplicates
    dropped = _none(candidates)
    if threshold is None or not len(candidates):
        return dropped

    def gather(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.floating[Any]]:
        return context.store.gather("image", rows)

    if context.rules.cross_concept != "keep-all":
        return near_duplicates(candidates.row_id, gather, threshold)
    for places in _by_concept(candidates):
        dropped[places] = near_duplicates(candidates.row_id[places], gather, threshold)
    return dropped


def _by_concept(candidates: Candidates) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(candidates.concept, kind="stable").astype(np.int64)
    return np.split(order, np.flatnonzero(np.diff(candidates.concept[order])) + 1)


Rule = Callable[[Candidates, _Context], BoolArray]
RULE_ORDER: tuple[tuple[str, Rule], ...] = (
    ("forgotten", _forgotten),
    ("min-score", _min_score),
    ("both-modes", _both_modes),
    ("min-side", _min_side),
    ("exclude", _exclude),
    ("cross-concept", _cross_concept),
    ("exact-duplicates", _exact_duplicates),
    ("near-duplicates", _near_duplicates),
)
