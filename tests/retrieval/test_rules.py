from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retrieval.rules
from index.duplicates.segments import DuplicatesConfig
from index.errors import BadInput, ModelMismatch
from index.store.embedding_store import EmbeddingStore
from retrieval.rules import RULE_ORDER, RuleOutcome, Rules, apply_rules
from retrieval.search.candidates import Candidates
from retrieval.search.duplicates import near_duplicates
from tests.index.duplicates.test_segments import find_groups
from tests.index.duplicates.worlds import with_copies
from tests.retrieval.stores import forget, jpeg, make_store, random_unit, unit

# (concept, row, mode, score, rank, within K)
Row = tuple[int, int, int, float, int, bool]


def candidates(*rows: Row) -> Candidates:
    concept, row, mode, score, rank, primary = (np.array(column) for column in zip(*rows, strict=True))
    return Candidates(
        concept=concept.astype(np.int32),
        prompt=np.zeros(len(rows), np.int32),
        mode=mode.astype(np.uint8),
        row_id=row.astype(np.int64),
        score=score.astype(np.float32),
        rank=rank.astype(np.int32),
        primary=primary.astype(np.bool_),
        both_ways=np.zeros(len(rows), np.bool_),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    vectors = random_unit(20, dim=16)
    vectors[11] = vectors[1]
    pictures = [jpeg(number) for number in range(20)]
    pictures[12] = pictures[2]
    widths = [24] * 19 + [None]
    widths[3] = 8
    return make_store(tmp_path_factory.mktemp("rules"), vectors, images=pictures, width=widths)


def apply(store: EmbeddingStore, chosen: Candidates, reserve: float = 1.0, **rules: Any) -> RuleOutcome:
    outcome = apply_rules(chosen, Rules(**rules), store, concepts=3, reserve=reserve)
    assert int(chosen.primary.sum()) == len(outcome.kept) + sum(loss.rows for loss in outcome.losses)
    return outcome


def lost(outcome: RuleOutcome) -> dict[str, int]:
    return {loss.rule: loss.rows for loss in outcome.losses if loss.rows}


def kept(outcome: RuleOutcome) -> list[tuple[int, int]]:
    return list(zip(outcome.kept.concept.tolist(), outcome.kept.row_id.tolist(), strict=True))


def test_the_stated_order_is_the_order_of_the_losses(store: EmbeddingStore) -> None:
    outcome = apply(store, candidates((0, 0, 0, 0.5, 1, True)))
    assert [loss.rule for loss in outcome.losses] == [*[name for name, _ in RULE_ORDER], "cap"]
    stated = re.findall(r"^ +\d+\. ([a-z-]+) ", retrieval.rules.__doc__ or "", re.MULTILINE)
    assert stated == [loss.rule for loss in outcome.losses]


def test_rows_forgotten_since_the_search_go_first(tmp_path: Path) -> None:
    shrinking = make_store(tmp_path, random_unit(4))
    forget(shrinking, [1])
    rows = candidates((0, 0, 0, 0.5, 1, True), (0, 1, 0, 0.4, 2, True))
    assert lost(apply(shrinking, rows, min_score=0.45)) == {"forgotten": 1}


def test_a_floor_may_differ_between_modes(store: EmbeddingStore) -> None:
    rows = candidates((0, 0, 0, 0.3, 1, True), (0, 4, 0, 0.2, 2, True), (0, 5, 1, 0.3, 1, True))
    assert kept(apply(store, rows, min_score=0.25)) == [(0, 0), (0, 5)]
    assert kept(apply(store, rows, min_score=0.25, min_score_t2t=0.8)) == [(0, 0)]
    assert lost(apply(store, rows, min_score_t2i=0.25)) == {"min-score": 1}


def test_a_row_found_both_ways_stays_once_under_its_better_rank(store: EmbeddingStore) -> None:
    rows = candidates((0, 0, 0, 0.3, 1, True), (0, 4, 0, 0.2, 2, True), (0, 4, 1, 0.9, 1, True))
    outcome = apply(store, rows)
    assert lost(outcome) == {"both-modes": 1}
    assert kept(outcome) == [(0, 0), (0, 4)]
    assert outcome.kept.mode.tolist() == [0, 1]
    assert outcome.kept.both_ways.tolist() == [False, True]


def test_small_images_and_those_of_unknown_size_go(store: EmbeddingStore) -> None:
    rows = candidates((0, 3, 0, 0.3, 1, True), (0, 4, 0, 0.2, 2, True), (0, 19, 0, 0.1, 3, True))
    assert kept(apply(store, rows, min_side=16)) == [(0, 4)]
    assert lost(apply(store, rows, min_side=16)) == {"unknown-size": 1, "min-side": 1}
    assert lost(apply(store, rows)) == {}


@pytest.mark.parametrize("block", [1, 65_536])
def test_candidates_without_a_size_are_counted_and_stop_nothing(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """A block of one row without a size, or a concept whose only row has none, is no store without sizes."""
    monkeypatch.setattr(retrieval.rules, "_BLOCK", block)
    rows = candidates((0, 4, 0, 0.3, 1, True), (0, 19, 0, 0.1, 2, True))
    assert kept(apply(store, rows, min_side=16)) == [(0, 4)]
    assert lost(apply(store, candidates((0, 19, 0, 0.1, 1, True)), min_side=16)) == {"unknown-size": 1}


def test_a_store_without_sizes_cannot_be_asked_for_a_minimum(tmp_path: Path) -> None:
    sizeless = make_store(tmp_path, random_unit(4), width=[None] * 4, height=[None] * 4)
    with pytest.raises(BadInput, match="holds no image sizes"):
        apply(sizeless, candidates((0, 0, 0, 0.3, 1, True)), min_side=16)


def test_near_duplicates_of_an_evaluation_set_go(store: EmbeddingStore, tmp_path: Path) -> None:
    near_row_4 = unit(store.gather("image", [4]).astype(np.float64) + 0.03)
    evaluation = make_store(tmp_path, np.concatenate([near_row_4, random_unit(3, dim=16, seed=9)]))
    rows = candidates((0, 4, 0, 0.5, 1, True), (0, 5, 0, 0.4, 2, True), (1, 4, 0, 0.5, 1, True))
    outcome = apply(store, rows, exclude=str(evaluation.path))
    assert lost(outcome) == {"exclude": 2}
    assert kept(outcome) == [(0, 5)]
    assert kept(apply(store, rows, exclude=str(evaluation.path), exclude_threshold=1.0)) == [(0, 4), (0, 5)]


def test_an_evaluation_set_of_another_model_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    other = make_store(tmp_path, random_unit(3, dim=16), model={"name": "other", "weights": "v"})
    with pytest.raises(ModelMismatch, match="the store to exclude"):
        apply(store, candidates((0, 4, 0, 0.5, 1, True)), exclude=str(other.path))


def test_a_contested_row_goes_to_the_concept_where_it_stands_highest(store: EmbeddingStore) -> None:
    rows = candidates(
        (0, 4, 0, 0.5, 1, True), (1, 4, 0, 0.6, 2, True), (1, 5, 0, 0.7, 1, True), (2, 4, 0, 0.9, 9, False)
    )
    outcome = apply(store, rows)
    assert kept(outcome) == [(1, 5), (1, 4)]
    assert lost(outcome) == {"cross-concept": 1}
    assert len(outcome.reserve) == 0
    assert kept(apply(store, rows, cross_concept="drop")) == [(1, 5)]
    assert kept(apply(store, rows, cross_concept="keep-all")) == [(0, 4), (1, 5), (1, 4)]


def test_overflow_alone_does_not_contest_a_row(store: EmbeddingStore) -> None:
    rows = candidates((0, 4, 0, 0.5, 1, True), (1, 4, 0, 0.9, 7, False), (1, 5, 0, 0.5, 1, True))
    assert kept(apply(store, rows, cross_concept="drop")) == [(0, 4), (1, 5)]


def test_modes_are_compared_by_their_own_scale(store: EmbeddingStore) -> None:
    """T2T scores are all higher than T2I's here, yet row 4 is the best T2I hit and a poor T2T one."""
    rows = candidates(
        (0, 4, 0, 0.35, 1, True),
        (0, 6, 0, 0.20, 2, True),
        (1, 7, 1, 0.95, 1, True),
        (1, 4, 1, 0.80, 2, True),
    )
    assert kept(apply(store, rows)) == [(0, 4), (0, 6), (1, 7)]


def test_the_same_bytes_under_two_row_ids_stay_once(store: EmbeddingStore) -> None:
    rows = candidates((0, 12, 0, 0.5, 2, True), (1, 2, 0, 0.6, 1, True), (1, 5, 0, 0.4, 3, True))
    assert kept(apply(store, rows)) == [(1, 2), (1, 5)]
    assert lost(apply(store, rows)) == {"exact-duplicates": 1}
    assert len(kept(apply(store, rows, exact_duplicates=False))) == 3
    assert len(kept(apply(store, rows, cross_concept="keep-all"))) == 3


def test_rows_without_a_digest_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    unhashed = make_store(tmp_path, random_unit(4), sha256=[None] * 4)
    rows = candidates((0, 0, 0, 0.5, 1, True), (0, 1, 0, 0.4, 2, True))
    assert len(kept(apply(unhashed, rows))) == 2


def test_near_duplicates_inside_the_selection_keep_the_better_ranked_row(store: EmbeddingStore) -> None:
    rows = candidates((0, 11, 0, 0.5, 2, True), (1, 1, 0, 0.4, 1, True), (1, 5, 0, 0.3, 2, True))
    assert kept(apply(store, rows)) == [(0, 11), (1, 1), (1, 5)]
    assert kept(apply(store, rows, near_duplicates=0.94)) == [(1, 1), (1, 5)]
    assert len(kept(apply(store, rows, near_duplicates=0.94, cross_concept="keep-all"))) == 3


def test_near_duplicates_are_the_same_with_the_groups_that_the_store_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = with_copies(120, 40)
    store = make_store(tmp_path, vectors, images=[b""] * 120)
    rows = candidates(*((row % 3, row, 0, 1 - row / 200, row // 3 + 1, True) for row in range(120)))
    choices: list[dict[str, Any]] = [{}, {"cross_concept": "keep-all"}]
    before = [kept(apply(store, rows, near_duplicates=0.94, **each)) for each in choices]
    monkeypatch.setattr(retrieval.rules, "near_duplicates", partial(near_duplicates, exact_rows=1))
    find_groups(DuplicatesConfig(str(store.path)))
    assert [kept(apply(store, rows, near_duplicates=0.94, **each)) for each in choices] == before
    assert len(before[0]) < 120


def test_the_cap_keeps_the_best_ranks_of_both_modes_and_leads_the_reserve(store: EmbeddingStore) -> None:
    rows = candidates(
        *[(0, row, 0, 0.5 - row / 100, row + 1, row < 4) for row in (0, 1, 4, 5)],
        *[(0, row, 1, 0.9 - row / 100, row - 5, True) for row in (6, 7)],
    )
    outcome = apply(store, rows, per_concept=3)
    assert outcome.kept.row_id.tolist() == [0, 6, 1]
    assert lost(outcome) == {"cap": 1}
    assert outcome.reserve.row_id.tolist() == [7, 4, 5]


def test_the_reserve_is_a_share_of_what_a_concept_keeps(store: EmbeddingStore) -> None:
    rows = candidates(
        (0, 0, 0, 0.5, 1, True), (0, 4, 0, 0.4, 2, True), (0, 5, 0, 0.3, 3, False), (0, 6, 0, 0.2, 4, False)
    )
    assert apply(store, rows, reserve=0.5).reserve.row_id.tolist() == [5]
    assert len(apply(store, rows, reserve=0).reserve) == 0


def test_overflow_never_pushes_out_what_k_asked_for(store: EmbeddingStore) -> None:
    rows = candidates((0, 11, 0, 0.9, 1, False), (1, 1, 0, 0.1, 50, True))
    outcome = apply(store, rows, near_duplicates=0.94)
    assert kept(outcome) == [(1, 1)]
    assert int(outcome.losses[-2].overflow.sum()) == 1


def test_no_candidates_pass_every_rule(store: EmbeddingStore) -> None:
    nothing = Candidates.concatenate([])
    for policy in ("best", "drop", "keep-all"):
        outcome = apply(store, nothing, min_side=3, near_duplicates=0.9, cross_concept=policy, per_concept=3)
        assert len(outcome.kept) == 0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"cross_concept": "first"}, "valid ones: best, keep-all, drop"),
        ({"min_score": 20.0}, "min-score 20.0: must be a cosine"),
        ({"near_duplicates": -2.0}, "near-duplicates -2.0: must be a cosine"),
        ({"per_concept": 0}, "per-concept 0: must be at least 1"),
        ({"min_side": -5}, "min-side -5"),
        ({"min_score": float("nan")}, "min-score nan"),
    ],
)
def test_rules_that_mean_nothing_are_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Rules(**rules)


def test_per_concept_keeps_its_older_name_in_files_and_as_an_argument() -> None:
    rules = Rules(per_concept=3)
    assert Rules(cap=3) == rules
    assert rules.to_json()["cap"] == 3
    assert "per_concept" not in rules.to_json()
