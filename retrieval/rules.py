"""Selection rules: which candidates stay. They run in one fixed order, and the rows that each removes are counted.

The order, and why:

    1. forgotten          rows that were forgotten since the search; they must never be returned
    2. min-score          rows whose score is below the limit; needs no look-up, so it comes early
    3. both-modes         a row that T2I and T2T both found is kept once, under the mode that ranked it higher
    4. unknown-size       rows without a width and a height, where min-side is asked for
    5. min-side           small images, by the metadata's width and height
    6. exclude            near-duplicates of an evaluation set's images. Comes before the candidates are compared with
                          each other, so that an excluded row can't remove a good row as its duplicate
    7. cross-concept      a row found for several concepts is kept for the one where it scores highest (best), for none
                          of them (drop) or for all of them (keep-all)
    8. exact-duplicates   the same bytes (SHA-256) under several row ids
    9. near-duplicates    images whose cosine reaches a threshold; comes late, since comparing rows is slow
    10. cap               rows beyond the most that a concept may keep; last, so that it counts only rows that stay

Of duplicates the better ranked row stays. Rules 8 and 9 compare rows of all concepts together. Under keep-all a row may
be kept for several concepts, so there they treat each concept separately. Overflow candidates (ranks beyond K, for the
reserve) go through the same rules, but never remove a candidate within K. T2I and T2T scores have different scales
(the modality gap), so scores are compared inside a mode only; across modes ranks or standardized scores are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from index.duplicates.stored_groups import known_groups
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
# Rows that are looked at to tell a store without sizes from one in which some rows have none.
_SAMPLED = 256

# clip-retrieval's own threshold for two images being the same.
SAME_IMAGE = 0.94


@dataclass(frozen=True)
class Rules:
    """The thresholds and choices of the rules. A rule whose value is None is off.

    min_score: cosine floor for both modes; min_score_t2i, min_score_t2t: for one mode, instead of min_score.
    min_side: pixels of the shorter side; a row of unknown size is dropped, and counted by itself. exclude: path of a
    store, embedded with the same model, whose images must not be selected; exclude_threshold: the cosine from which an
    image counts as one of them. cross_concept: best, keep-all or drop. exact_duplicates: drop repeated bytes.
    near_duplicates: cosine from which two images count as the same (0.94 in clip-retrieval; it depends on the model, so
    there is no default).
    per_concept: the most rows that a concept keeps; its older name `cap` is accepted as an argument.

    Raises BadInput for a value out of range.
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
    per_concept: int | None = None
    cap: InitVar[int | None] = None

    def __post_init__(self, cap: int | None) -> None:
        if cap is not None:
            object.__setattr__(self, "per_concept", cap)
        if self.cross_concept not in get_args(CrossConcept):
            raise BadInput(
                f"cross-concept {self.cross_concept!r}: unknown; valid ones: {', '.join(get_args(CrossConcept))}"
            )
        for name in ("min_score", "min_score_t2i", "min_score_t2t", "exclude_threshold", "near_duplicates"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise BadInput(f"{name.replace('_', '-')} {value}: must be a cosine, between -1 and 1")
        for name in ("min_side", "per_concept"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"{name.replace('_', '-')} {value}: must be at least 1")

    def floor(self, mode: str) -> float | None:
        """The cosine below which rows of `mode` ("t2i" or "t2t") are dropped; None for no floor."""
        own = self.min_score_t2i if mode == "t2i" else self.min_score_t2t
        return self.min_score if own is None else own

    def to_json(self) -> dict[str, Any]:
        """The fields as they stand in manifests and in the service's requests, where per_concept is called `cap`."""
        plain = dataclasses.asdict(self)
        plain["cap"] = plain.pop("per_concept")
        return plain


@dataclass(frozen=True)
class Loss:
    """The number of candidates that one rule dropped for each concept, int64 [concepts]: by_concept counts those within
    K, overflow those beyond."""

    rule: str
    by_concept: npt.NDArray[np.int64]
    overflow: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """The number of candidates within K that the rule dropped."""
        return int(self.by_concept.sum())


@dataclass(frozen=True)
class RuleOutcome:
    """The rules' result. kept, reserve: in order of concept, then rank. Candidates within K = kept + sum of losses."""

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

    concepts: number of concepts. reserve: size of each concept's reserve, as a share of its kept rows.
    Raises BadInput for min_side on a store without image sizes, ModelMismatch for an excluded store of another model.
    """
    context = _Context(rules, store, check_exclude(store, rules))
    losses: list[Loss] = []
    left = mark_both_ways(candidates.take(_best_first(candidates)))
    for name, rule in RULE_ORDER:
        dropped = rule(left, context)
        losses.append(_loss(name, left.take(dropped), concepts))
        left = left.take(~dropped)
    left = left.take(np.lexsort((left.mode, left.rank, ~left.primary, left.concept)))
    capped = _none(left)
    if rules.per_concept is not None:
        capped = left.primary & (place_in_group(left.concept) >= rules.per_concept)
    losses.append(_loss("cap", left.take(capped), concepts))
    kept = left.take(left.primary & ~capped)
    # Capped rows come first in the reserve, since they rank above all overflow.
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
    """The order of preference among duplicates: within K before overflow, then by rank, whatever the concept."""
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


def _unknown_size(candidates: Candidates, context: _Context) -> BoolArray:
    least = context.rules.min_side
    if least is None or not len(candidates):
        return _none(candidates)
    unknown: BoolArray = np.isnan(_shorter_sides(candidates, context))
    if unknown.all():
        sample = np.unique(np.linspace(0, context.store.rows - 1, _SAMPLED).astype(np.int64))
        if np.isnan(_sides(context.store, sample)).all():
            raise BadInput(f"min-side {least}: {context.store.path} holds no image sizes; leave the rule out")
    return unknown


def _min_side(candidates: Candidates, context: _Context) -> BoolArray:
    if context.rules.min_side is None:
        return _none(candidates)
    small: BoolArray = _shorter_sides(candidates, context) < context.rules.min_side
    return small


def _shorter_sides(candidates: Candidates, context: _Context) -> npt.NDArray[np.float64]:
    """float64 [n]: pixels of each candidate's shorter side, NaN where width or height is not known."""
    rows, place = np.unique(candidates.row_id, return_inverse=True)
    blocks = [_sides(context.store, rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)]
    return np.concatenate([np.empty(0), *blocks])[place]


def _sides(store: EmbeddingStore, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    sizes = store.metadata(rows, ["width", "height"])
    width, height = (sizes.column(name).cast("float64").fill_null(np.nan).to_numpy() for name in ("width", "height"))
    shorter: npt.NDArray[np.float64] = np.minimum(width, height)
    return shorter


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
        # A row that one concept has within K is kept for it, even if other concepts have the row in their overflow.
        claims = np.add.reduceat(candidates.primary[order].astype(np.int64), starts)
        lengths = np.diff(np.r_[starts, len(order)])
        contested = (claims > 1) | ((claims == 0) & (lengths > 1))
        dropped[order[starts[contested]]] = True
    return dropped


def _standardized(candidates: Candidates) -> npt.NDArray[np.float64]:
    """Scores in standard deviations from their mode's mean, so that modes can be compared; float64 [n]."""
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
    # A row without a known digest is equal only to itself, so its row id is part of its key.
    own = np.where(known, np.int64(-1), candidates.row_id)
    return repeats(group, own, high, low)


def _near_duplicates(candidates: Candidates, context: _Context) -> BoolArray:
    threshold = context.rules.near_duplicates
    dropped = _none(candidates)
    if threshold is None or not len(candidates):
        return dropped

    def gather(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.floating[Any]]:
        return context.store.gather("image", rows)

    def groups(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        return known_groups(context.store, rows, threshold)

    if context.rules.cross_concept != "keep-all":
        return near_duplicates(candidates.row_id, gather, threshold, groups=groups)
    for places in _by_concept(candidates):
        dropped[places] = near_duplicates(candidates.row_id[places], gather, threshold, groups=groups)
    return dropped


def _by_concept(candidates: Candidates) -> list[npt.NDArray[np.int64]]:
    order = np.argsort(candidates.concept, kind="stable").astype(np.int64)
    return np.split(order, np.flatnonzero(np.diff(candidates.concept[order])) + 1)


Rule = Callable[[Candidates, _Context], BoolArray]
RULE_ORDER: tuple[tuple[str, Rule], ...] = (
    ("forgotten", _forgotten),
    ("min-score", _min_score),
    ("both-modes", _both_modes),
    ("unknown-size", _unknown_size),
    ("min-side", _min_side),
    ("exclude", _exclude),
    ("cross-concept", _cross_concept),
    ("exact-duplicates", _exact_duplicates),
    ("near-duplicates", _near_duplicates),
)
