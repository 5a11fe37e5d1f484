"""What a reviewer gets without HTTP: pages, filters, decisions, and no set with a forgotten row."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from index.store.embedding_store import EmbeddingStore
from mining import ImageSets
from mining.pages import review as module
from mining.pages.correction import CorrectionRequest
from mining.pages.member_thumbnail import NoImage
from mining.pages.review import NoSuchSet, PairsQuery, Review
from mining.sets.corrections import read_corrections
from mining.sets.decisions import DecisionsFile, read_decisions
from mining.sets.image_set import ImageSet, Member
from mining.sets.sources import files_source
from mining.sets.write_sets import ImageSetsWriter
from retrieval.service.images import ThumbnailSize
from tests.mining.made_sets import write_sets
from tests.mining.pages.conftest import ELSEWHERE, MINED, ODD, PAIRS, STORY
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


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        (PairsQuery(strategy="nope"), "no strategy 'nope'; there is attribute, identity, overlap, similar"),
        (PairsQuery(split="dev"), "no split 'dev'; there is held-out, train"),
        (PairsQuery(kind="note"), "no kind 'note'; there is none at all"),
    ],
)
def test_a_name_that_the_folder_does_not_have_is_answered_with_those_it_has(
    review: Review, query: PairsQuery, hint: str
) -> None:
    page = review.page(query)
    assert (page["sets"], page["hint"]) == ([], f"there is {hint}")
    assert review.page(PairsQuery(strategy="overlap", split="train"))["hint"] is None


def test_a_search_stops_after_a_bounded_number_of_sets(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOKED_AT", 5)
    page = review.page(PairsQuery(text="caption 65"))
    assert (ids(page), page["looked_at"], page["next"]) == ([], 5, 5)


def test_a_decision_is_stored_by_its_rows_and_shown_with_the_set(review: Review) -> None:
    review.decide("5_4_3", "reject")
    assert review.find("5_4_3")["decision"] == "reject"
    assert ids(review.page(PairsQuery(decision="reject"))) == ["5_4_3"]
    assert "5_4_3" not in ids(review.page(PairsQuery(decision="undecided", limit=100)))
    assert read_decisions(review.decisions.path).rejected == {review.sets[3].refs}


def test_a_set_that_is_not_there_is_an_error(review: Review) -> None:
    with pytest.raises(NoSuchSet, match="there is no set '3_4_5'"):
        review.find("3_4_5")
    with pytest.raises(NoSuchSet):
        review.decide("1_9", "keep")
    assert not review.decisions.path.exists()


def test_sets_with_a_forgotten_row_are_gone(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(8))
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], store=store, set_id=["0_1", "2_3"])
    review = Review(sets, store, DecisionsFile(tmp_path / "decisions.jsonl"))
    assert ids(review.page(PairsQuery())) == ["0_1", "2_3"]
    forget(store, [3])
    assert ids(review.page(PairsQuery())) == ["0_1"]
    with pytest.raises(NoSuchSet):
        review.find("2_3")


@pytest.fixture
def of_many(joined: ImageSets, pairs_store: EmbeddingStore, tmp_path: Path) -> Review:
    return Review(joined, pairs_store, DecisionsFile(tmp_path / "decisions.jsonl"))


def said(page: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [
        (each["set_id"], own["annotator"]["name"], own["replaced"])
        for each in page["sets"]
        for own in each["annotations"]
    ]


def correct(review: Review, set_id: str, place: int, text: str, person: str = "Ann") -> dict[str, Any]:
    parent = review.find(set_id)["annotations"][place]["annotation_id"]
    turns = [{"role": "assistant", "parts": [{"text": text}]}]
    request = {"set_id": set_id, "parent": parent, "person": person, "turns": turns}
    return review.correct(CorrectionRequest.model_validate(request))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (PairsQuery(split="train"), ["0_1", "3_4"]),
        (PairsQuery(min_difficulty=0.3), ["0_1", "5_4_3"]),
        (PairsQuery(min_difficulty=0.25, max_difficulty=0.5), ["0_1", "0_2"]),
        (PairsQuery(max_difficulty=0.0), ["3_4"]),
        (PairsQuery(split="none"), []),
        (PairsQuery(kind="comparison"), []),
    ],
)
def test_sets_are_found_by_split_and_difficulty(review: Review, query: PairsQuery, expected: list[str]) -> None:
    page = review.page(query)
    assert ids(page) == expected
    assert page["matching"] == len(expected)


def test_annotations_are_found_by_kind_and_annotator(of_many: Review) -> None:
    assert said(of_many.page(PairsQuery(kind="comparison"))) == [
        (ODD, "model", False),
        (ODD, "second", False),
        (STORY, "model", False),
    ]
    assert ids(of_many.page(PairsQuery(annotator="teacher"))) == [ODD]
    assert ids(of_many.page(PairsQuery(kind="question", annotator="model"))) == []
    assert ids(of_many.page(PairsQuery(text="OF THE story"))) == [STORY], "in the turns"
    assert ids(of_many.page(PairsQuery(text="of the story", annotator="second"))) == []


def test_a_correction_is_shown_instead_of_its_parent_at_once(of_many: Review) -> None:
    first = correct(of_many, ODD, 0, "The tail.")["annotation"]
    assert first["annotator"]["name"] == "person:Ann"
    assert said(of_many.page(PairsQuery(kind="comparison")))[:2] == [
        (ODD, "second", False),
        (ODD, "person:Ann", False),
    ]
    assert (ODD, "model", True) in said(of_many.page(PairsQuery(kind="comparison", replaced=True)))
    assert ids(of_many.page(PairsQuery(annotator="person:Ann"))) == [ODD]
    (corrected, _) = of_many.page(PairsQuery(annotator="model", kind="comparison"))["sets"]
    assert [own["annotator"]["name"] for own in corrected["annotations"]] == ["person:Ann"]  # as one of the model's
    assert ids(of_many.page(PairsQuery(annotator="model", kind="comparison", replaced=True))) == [ODD, STORY]
    counted = of_many.page(PairsQuery())["annotations"]
    assert {"kind": "comparison", "annotator": "person:Ann", "count": 1} in counted
    place = [own["annotation_id"] for own in of_many.find(ODD)["annotations"]].index(first["annotation_id"])
    correct(of_many, ODD, place, "The tail, no: the leg.", "Bo")
    assert said(of_many.page(PairsQuery(annotator="person:Ann", replaced=True))) == [
        (ODD, "person:Ann", True),
        (ODD, "person:Bo", False),
    ]
    assert ids(of_many.page(PairsQuery(annotator="person:Ann"))) == [ODD]  # corrected in turn, so Bo's stands for it


def test_corrections_are_there_when_the_folder_is_served_again(
    of_many: Review, pairs_store: EmbeddingStore, tmp_path: Path
) -> None:
    new = correct(of_many, ODD, 0, "The tail.")["annotation"]
    again = Review(ImageSets.open(of_many.sets.path), pairs_store, DecisionsFile(tmp_path / "decisions.jsonl"))
    assert said(again.page(PairsQuery())) == said(of_many.page(PairsQuery()))
    request = {"set_id": ODD, "parent": new["parent"], "person": "Ann", "turns": new["turns"]}
    assert again.correct(CorrectionRequest.model_validate(request))["annotation"] == new
    assert len(read_corrections(of_many.sets.path)) == 1


def test_sets_of_other_sources_are_served_beside_the_store(of_many: Review, pairs_store: EmbeddingStore) -> None:
    for set_id in (MINED, ELSEWHERE, ODD):
        assert of_many.thumbnail(set_id, 1, ThumbnailSize(64))[:2] == b"\xff\xd8"
    assert (of_many.missing_sources(), of_many.sets_without_images()) == ({}, {})


def test_sets_whose_images_have_no_folder_are_counted(pairs_store: EmbeddingStore, tmp_path: Path) -> None:
    source = files_source("letters", None, tmp_path / "pairs")
    writer = ImageSetsWriter(tmp_path / "pairs")
    images = (Member(0, source.name, key="a"), Member(1, source.name, key="b"))
    writer.add_sets(
        [ImageSet("one", "letters", images), ImageSet("two", "letters", images[:1]), ImageSet("text", "letters", ())]
    )
    review = Review(writer.finish([source], {}), pairs_store, DecisionsFile(tmp_path / "decisions.jsonl"))
    assert review.sets_without_images() == {source.name: 2}
    assert review.missing_sources() == {}


def test_a_forgotten_row_of_another_store_hides_its_sets(of_many: Review, joined_folder: Path) -> None:
    other = EmbeddingStore.open(joined_folder.parent / "store")
    assert ELSEWHERE in ids(of_many.page(PairsQuery()))
    forget(other, [1])
    try:
        assert ELSEWHERE not in ids(of_many.page(PairsQuery()))
        with pytest.raises(NoSuchSet):
            of_many.thumbnail(ELSEWHERE, 0, ThumbnailSize(64))
    finally:
        shutil.rmtree(other.path / "forgotten")


def test_the_served_store_is_the_source_also_where_it_was_moved(
    pairs: ImageSets, pairs_store: EmbeddingStore, tmp_path: Path
) -> None:
    for name in ("store", "corpus", "pairs"):
        shutil.copytree(pairs_store.path.parent / name, tmp_path / "first" / name)
    (tmp_path / "first").rename(tmp_path / "second")
    (tmp_path / "second" / "pairs").rename(tmp_path / "pairs")
    manifest = tmp_path / "pairs" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(pairs_store.path.parent), str(tmp_path / "first")))
    moved = EmbeddingStore.open(tmp_path / "second" / "store")
    sets = ImageSets.open(tmp_path / "pairs")
    review = Review(sets, moved, DecisionsFile(tmp_path / "decisions.jsonl"))
    assert review.missing_sources() == {}
    assert review.thumbnail("0_1", 0, ThumbnailSize(64))[:2] == b"\xff\xd8"
    elsewhere = Review(
        sets, make_store(tmp_path / "third", random_unit(3)), DecisionsFile(tmp_path / "decisions.jsonl")
    )
    assert elsewhere.missing_sources() == {next(iter(sets.sources)): str(tmp_path / "first" / "store")}
    assert ids(elsewhere.page(PairsQuery(strategy="overlap"))) == ["0_1", "0_2"]
    with pytest.raises(NoImage, match=r"image 1: its source store-[0-9a-f]+ cannot be opened"):
        elsewhere.thumbnail("0_1", 0, ThumbnailSize(64))
