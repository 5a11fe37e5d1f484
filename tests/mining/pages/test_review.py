"""What a reviewer gets without HTTP: pages, filters, decisions, and no set with a forgotten row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from index.errors import StoreInvalid
from index.store.embedding_store import EmbeddingStore
from mining import ImageSets
from mining.pages import review as module
from mining.pages.review import NoSuchSet, PairsQuery, Review
from mining.sets.decisions import DecisionsFile, read_decisions
from tests.mining.made_sets import write_sets
from tests.mining.pages.conftest import PAIRS
from tests.retrieval.stores import forget, make_store, random_unit


@pytest.fixture
def review(pairs: ImageSets, pairs_store: EmbeddingStore, tmp_path: Path) -> Review:
    return Review(pairs, pairs_store, DecisionsFile(tmp_path / "decisions.jsonl"))


def ids(page: dict[str, Any]) -> list[str]:
    return [each["set_id"] for each in page["sets"]]


def test_pages_follow_each_other_by_their_cursor(review: Review) -> None:
    first = review.page(PairsQuery(limit=3))
    assert ids(first) == ["0_1", "0_2", "3_4"]
    assert (first["next"], first["matching"], first["looked_at"]) == (3, PAIRS + 4, 3)
    last = review.page(PairsQuery(limit=200, cursor=first["next"]))
    assert len(last["sets"]) == PAIRS + 1
    assert last["next"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (PairsQuery(strategy="overlap"), ["0_1", "0_2"]),
        (PairsQuery(strategy="overlap", level=1), ["0_2"]),
        (PairsQuery(text="MAN (with"), ["0_1"]),
        (PairsQuery(text="dog", strategy="overlap", level=2), ["0_1"]),
        (PairsQuery(text="lionel"), ["5_4_3"]),
        (PairsQuery(decision="reject"), []),
    ],
)
def test_filters_hold_together(review: Review, query: PairsQuery, expected: list[str]) -> None:
    assert ids(review.page(query)) == expected


def test_a_search_stops_after_a_bounded_number_of_sets(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOKED_AT", 5)
    page = review.page(PairsQuery(text="caption 65"))
    assert (ids(page), page["looked_at"], page["next"]) == ([], 5, 5)


def test_a_decision_is_stored_by_its_rows_and_shown_with_the_set(review: Review) -> None:
    review.decide("5_4_3", "reject")
    assert review.find("5_4_3")["decision"] == "reject"
    assert ids(review.page(PairsQuery(decision="reject"))) == ["5_4_3"]
    assert "5_4_3" not in ids(review.page(PairsQuery(decision="undecided", limit=100)))
    assert read_decisions(review.decisions.path).rejected == {(3, 4, 5)}


def test_a_set_that_is_not_there_is_an_error(review: Review) -> None:
    with pytest.raises(NoSuchSet, match="there is no set '3_4_5'"):
        review.find("3_4_5")
    with pytest.raises(NoSuchSet):
        review.decide("1_9", "keep")
    assert not review.decisions.path.exists()


def test_sets_with_a_forgotten_row_are_gone(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(8))
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], store=store)
    review = Review(sets, store, DecisionsFile(tmp_path / "decisions.jsonl"))
    assert ids(review.page(PairsQuery())) == ["0_1", "2_3"]
    forget(store, [3])
    assert ids(review.page(PairsQuery())) == ["0_1"]
    with pytest.raises(NoSuchSet):
        review.find("2_3")


def test_sets_of_another_store_are_refused(pairs: ImageSets, tmp_path: Path) -> None:
    other = make_store(tmp_path, random_unit(3))
    with pytest.raises(StoreInvalid, match="was not mined from"):
        Review(pairs, other, DecisionsFile(tmp_path / "decisions.jsonl"))
