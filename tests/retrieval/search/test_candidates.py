from __future__ import annotations

from pathlib import Path

import numpy as np

from retrieval.search.candidates import Candidates, mark_both_ways, merge_hits, read_candidates, write_candidates


def merged(k: int = 2) -> Candidates:
    """Concept 0 has two prompts, concept 1 one; three ranks each, K = 2."""
    return merge_hits(
        np.array([0, 0, 1], np.int32),
        np.array([0, 1, 0], np.int32),
        np.array([[0.9, 0.8, 0.7], [0.95, 0.6, 0.5], [0.4, -np.inf, -np.inf]], np.float32),
        np.array([[5, 6, 7], [6, 5, 8], [5, -1, -1]], np.int64),
        k=k,
        mode=0,
    )


def test_a_row_that_several_prompts_found_is_kept_once_with_its_best_score_and_prompt() -> None:
    found = merged()
    own = found.concept == 0
    assert found.row_id[own].tolist() == [6, 5, 7, 8]
    assert found.prompt[own].tolist() == [1, 0, 0, 1]
    assert np.allclose(found.score[own], [0.95, 0.9, 0.7, 0.5])


def test_rows_within_k_of_any_prompt_are_primary_and_ranked_before_overflow() -> None:
    found = merged()
    assert found.primary.tolist() == [True, True, False, False, True]
    assert found.rank.tolist() == [1, 2, 3, 4, 1]
    assert merged(k=3).primary.all()


def test_overflow_never_outranks_what_k_asked_for() -> None:
    found = merge_hits(
        np.array([0, 0], np.int32),
        np.array([0, 1], np.int32),
        np.array([[0.9, 0.8], [0.3, 0.2]], np.float32),
        np.array([[1, 2], [3, 4]], np.int64),
        k=1,
        mode=1,
    )
    assert found.row_id.tolist() == [1, 3, 2, 4]


def test_no_hits_give_no_candidates() -> None:
    found = merge_hits(
        np.array([0], np.int32),
        np.array([0], np.int32),
        np.full((1, 3), -np.inf, np.float32),
        np.full((1, 3), -1, np.int64),
        k=3,
        mode=0,
    )
    assert len(found) == 0
    assert len(Candidates.concatenate([])) == 0


def test_rows_found_in_both_modes_by_one_concept_are_marked() -> None:
    t2i = merged()
    t2t = merged().replace(mode=np.ones(len(t2i), np.uint8), row_id=np.array([6, 50, 51, 52, 53]))
    both = mark_both_ways(Candidates.concatenate([t2i, t2t]))
    assert both.row_id[both.both_ways].tolist() == [6, 6]


def test_candidates_read_back_as_they_were_written(tmp_path: Path) -> None:
    write_candidates(merged(), tmp_path / "c.parquet")
    again = read_candidates(tmp_path / "c.parquet")
    for name, array in vars(merged()).items():
        assert np.array_equal(getattr(again, name), array)
        assert getattr(again, name).dtype == array.dtype
