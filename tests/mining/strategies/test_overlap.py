"""Pairs by shared nouns: the levels are what they say, common ones are drawn, rare ones found, texts count once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies import overlap as overlap_module
from mining.strategies.captions import caption_rows, noun_blocks
from mining.strategies.context import Candidates, MiningContext, in_process
from mining.text.nouns import noun_extractor
from tests.folders import file_bytes
from tests.mining.worlds import captions_context, skewed_captions


def mine_overlap(ctx: MiningContext) -> Candidates:
    candidates = overlap_module.overlap(ctx, in_process(ctx))
    assert candidates.considered == candidates.table.num_rows + sum(candidates.dropped.values())
    return candidates


@pytest.fixture
def few_random_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each caption has some dozen random partners, so that rarer levels come from joins."""
    monkeypatch.setattr(overlap_module, "PAIRS", 1)
    monkeypatch.setattr(overlap_module, "PAIRS_A_SET", 10)
    monkeypatch.setattr(overlap_module, "FEWEST_CAPTIONS", 400)
    monkeypatch.setattr(noun_blocks, "BLOCK", 32)


def nouns(captions: list[Any]) -> list[set[str]]:
    return [set(found) for found in noun_extractor("lexicon")(captions)]


def test_the_level_is_the_number_of_shared_nouns_and_the_reason_names_them(tmp_path: Path) -> None:
    captions = skewed_captions(300)
    ctx = captions_context(tmp_path, captions, sets=200)
    found = nouns(captions)
    for row in mine_overlap(ctx).table.to_pylist():
        one, other = row["rows"]
        assert one < other
        assert set(row["shared_nouns"]) == found[one] & found[other]
        assert row["level"] == len(row["shared_nouns"]) >= 1
        noun = "noun" if row["level"] == 1 else "nouns"
        assert row["difficulty"] == pytest.approx(min(row["level"] / 9, 1))
        assert row["reasons"] == [f"share {row['level']} {noun}: {', '.join(row['shared_nouns'])}"]


@pytest.mark.parametrize("joined", [False, True])
def test_levels_are_proposed_evenly_from_random_pairs_as_from_the_join(
    tmp_path: Path, request: pytest.FixtureRequest, joined: bool
) -> None:
    if joined:
        request.getfixturevalue("few_random_pairs")
    candidates = mine_overlap(captions_context(tmp_path, skewed_captions(900), sets=60, levels=(1, 3, 5)))
    assert Counter(candidates.table["level"].to_pylist()) == {1: 80, 3: 80, 5: 80}  # 4 x 60 / 3
    assert ("join" in candidates.notes[0]) == joined
    assert candidates.balanced


@pytest.mark.parametrize("joined", [False, True])
def test_without_levels_there_are_as_many_as_exist_and_full_ones_make_up_for_rare_ones(
    tmp_path: Path, request: pytest.FixtureRequest, joined: bool
) -> None:
    if joined:
        request.getfixturevalue("few_random_pairs")
    ten = "a dog, a cat, a boat, a hat, a cup, a bag, a car, a kite, a drum and a lamp"
    captions = [*(f"{row}: {ten}" for row in range(5)), *skewed_captions(800)]
    found = nouns(captions)
    exist = Counter(len(found[one] & found[other]) for other in range(len(captions)) for one in range(other))
    levels = Counter(mine_overlap(captions_context(tmp_path, captions, sets=150)).table["level"].to_pylist())
    assert max(levels) == 10
    share = max(levels.values())
    assert levels == {level: min(share, count) for level, count in exist.items() if level}
    assert 600 <= sum(levels.values()) <= 600 + len(levels)


def test_common_levels_are_drawn_from_all_images_and_few_reach_the_cap(tmp_path: Path, few_random_pairs: None) -> None:
    """The old sample had its pairs of levels 1 to 3 from a twentieth of the images."""
    table = mine_overlap(captions_context(tmp_path, skewed_captions(2_000), sets=2_000, levels=(1, 2, 3))).table
    for level in (1, 2, 3):
        own = [row for row in table.to_pylist() if row["level"] == level]
        uses = Counter(row for each in own for row in each["rows"])
        assert len(own) == -(-4 * 2_000 // 3)
        assert len(uses) > 1_200
        assert max(uses.values()) < 20  # of 2.7 on average


@pytest.mark.parametrize("joined", [False, True])
def test_at_least_n_nouns_as_cad_qa_asks(tmp_path: Path, request: pytest.FixtureRequest, joined: bool) -> None:
    if joined:
        request.getfixturevalue("few_random_pairs")
    captions = skewed_captions(900)
    candidates = mine_overlap(captions_context(tmp_path, captions, sets=2_500, min_shared_nouns=5))
    found = nouns(captions)
    expected = {(one, other) for other in range(900) for one in range(other) if len(found[one] & found[other]) >= 5}
    assert {tuple(rows) for rows in candidates.table["rows"].to_pylist()} == expected
    assert not candidates.balanced
    assert ("join" in candidates.notes[0]) == joined


@pytest.mark.parametrize("joined", [False, True])
def test_at_least_n_nouns_keeps_the_levels_as_frequent_as_they_are(
    tmp_path: Path, request: pytest.FixtureRequest, joined: bool
) -> None:
    if joined:
        request.getfixturevalue("few_random_pairs")
    captions = skewed_captions(900)
    found = nouns(captions)
    exist = Counter(len(found[one] & found[other]) for other in range(900) for one in range(other))
    above = {level: count for level, count in exist.items() if level >= 3}
    table = mine_overlap(captions_context(tmp_path, captions, sets=500, min_shared_nouns=3)).table
    levels = Counter(table["level"].to_pylist())
    assert table.num_rows == 2_000
    assert max(above.values()) > 4 * above[5]
    for level in (3, 4):
        assert levels[level] / 2_000 == pytest.approx(above[level] / sum(above.values()), rel=0.15)


def test_a_compound_counts_once(tmp_path: Path, few_random_pairs: None) -> None:
    captions = [f"{row}: a man playing tennis with a tennis racket and another racket" for row in range(40)]
    table = mine_overlap(captions_context(tmp_path, captions, sets=500)).table
    assert set(table["level"].to_pylist()) == {2}
    assert {tuple(sorted(each)) for each in table["shared_nouns"].to_pylist()} == {("man", "tennis racket")}
    assert mine_overlap(captions_context(tmp_path / "three", captions, min_shared_nouns=3)).table.num_rows == 0


def test_more_captions_are_parsed_where_the_first_ones_have_too_few_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap_module, "CAPTIONS", 200)
    monkeypatch.setattr(overlap_module, "CAPTIONS_A_SET", 1)
    monkeypatch.setattr(caption_rows, "RUN_ROWS", 5)
    captions = skewed_captions(3_000)
    plenty = mine_overlap(captions_context(tmp_path / "plenty", captions, sets=20))
    assert 100 < plenty.measured["captions"] < 300
    assert "of 3,000 rows were parsed, in runs of rows drawn by the seed" in plenty.notes[2]
    found = nouns(captions)
    for row in plenty.table.to_pylist():
        one, other = row["rows"]
        assert len(found[one] & found[other]) == row["level"]
    scarce = mine_overlap(captions_context(tmp_path / "scarce", captions, sets=100, min_shared_nouns=7))
    assert scarce.measured["captions"] > 400
    assert all(level >= 7 for level in scarce.table["level"].to_pylist())


def test_a_larger_store_gives_no_process_more_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the items and the driver load is in files of the working folder; the largest bound their memory."""
    monkeypatch.setattr(overlap_module, "CAPTIONS", 300)
    monkeypatch.setattr(overlap_module, "CAPTIONS_A_SET", 1)
    monkeypatch.setattr(caption_rows, "RUN_ROWS", 5)
    largest = []
    for rows in (600, 6_000):
        ctx = captions_context(tmp_path / str(rows), skewed_captions(rows), sets=50)
        mine_overlap(ctx)
        sizes = sorted(len(data) for data in file_bytes(ctx.folder).values())
        largest.append((sizes[-1], sum(sizes)))
    assert largest[1][0] < 1.3 * largest[0][0]
    assert largest[1][1] < 1.3 * largest[0][1]


@pytest.mark.parametrize("joined", [False, True])
def test_one_text_on_many_images_does_not_flood_the_result(
    tmp_path: Path, request: pytest.FixtureRequest, joined: bool
) -> None:
    if joined:
        request.getfixturevalue("few_random_pairs")
    spam = "a red shoe and a bag and a hat and a coat on a table"
    captions: list[str | None] = [*skewed_captions(200), *[spam] * 400, *[spam.upper()] * 50]
    table = mine_overlap(captions_context(tmp_path, captions, sets=500)).table
    assert table.num_rows > 300
    both = sum(min(rows) >= 200 for rows in table["rows"].to_pylist())
    assert both == 0  # never with itself
    assert sum(max(rows) >= 200 for rows in table["rows"].to_pylist()) < table.num_rows // 4


def test_repeated_texts_leave_enough_pairs_of_levels_that_are_joined_in_groups(
    tmp_path: Path, few_random_pairs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text is on five images, so there are a 25th of the pairs that the number of rows suggests."""
    monkeypatch.setattr(noun_blocks, "BLOCK", 4)
    captions = [each for each in skewed_captions(600) for _ in range(5)]
    candidates = mine_overlap(captions_context(tmp_path, captions, sets=100, levels=(3,)))
    assert "random groups" in candidates.notes[0]
    assert candidates.table.num_rows == 400


def test_rare_nouns_weigh_more_when_asked(tmp_path: Path) -> None:
    captions = skewed_captions(900)
    common = {"man", "dog", "woman", "tree"}
    share = {}
    for name, rare in (("plain", False), ("rare", True)):
        folder = tmp_path / name
        folder.mkdir()
        table = mine_overlap(captions_context(folder, captions, sets=50, levels=(2,), rare_nouns=rare)).table
        said = [noun for each in table["shared_nouns"].to_pylist() for noun in each]
        share[rare] = sum(noun in common for noun in said) / len(said)
    assert share[True] < share[False]


def test_empty_foreign_and_endless_captions_are_no_obstacle(tmp_path: Path) -> None:
    captions: list[str | None] = [
        None, "", "ein Hund und eine Katze auf dem Tisch", "一只狗在草地上奔跑", "a dog " * 10_000,
        "a dog and a cat", "a cat with a dog",
    ]  # fmt: skip
    table = mine_overlap(captions_context(tmp_path, captions, sets=10)).table
    assert {tuple(rows) for rows in table["rows"].to_pylist()} == {(4, 5), (4, 6), (5, 6)}


@pytest.mark.parametrize("captions", [["一只狗"] * 20, [None] * 20, ["a dog"] * 20])
def test_nothing_to_pair_gives_nothing(tmp_path: Path, captions: list[str | None]) -> None:
    assert mine_overlap(captions_context(tmp_path, captions)).table.num_rows == 0


@pytest.mark.parametrize(
    ("captions", "said"), [([None] * 20, True), (["", "a dog", "一只狗"], True), (["a dog"] * 2, False)]
)
def test_where_no_two_captions_can_share_a_noun_the_cause_is_said(
    tmp_path: Path, captions: list[str | None], said: bool
) -> None:
    notes = mine_overlap(captions_context(tmp_path, captions)).notes
    assert any(note.startswith("no noun is in two captions") for note in notes) is said
    assert any(note.startswith("levels 1 from") for note in notes) is not said


def test_a_level_nobody_reaches_gives_nothing(tmp_path: Path) -> None:
    assert mine_overlap(captions_context(tmp_path, skewed_captions(100), levels=(60, 200))).table.num_rows == 0


def test_a_store_of_one_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="1 row"):
        mine_overlap(captions_context(tmp_path, ["a dog"]))


def test_forgotten_rows_are_not_proposed(tmp_path: Path) -> None:
    from index.store.forget import forget_rows

    ctx = captions_context(tmp_path, skewed_captions(100), sets=2_000)
    forget_rows(EmbeddingStore.open(ctx.config.store), row_ids=list(range(50)))
    rows = mine_overlap(ctx).table["rows"].to_pylist()
    assert rows
    assert min(min(pair) for pair in rows) >= 50


def test_all_captions_of_an_image_count_where_asked_and_those_that_name_the_nouns_are_kept(tmp_path: Path) -> None:
    lists = [["a dog", "the cat is here"], ["a cat"], ["a dog", "one cat", "a cat with a dog"]]
    ctx = captions_context(tmp_path, [each[0] for each in lists], sets=10, which="all", lists=lists)
    found = {tuple(row["rows"]): row for row in mine_overlap(ctx).table.to_pylist()}
    assert {rows: row["shared_nouns"] for rows, row in found.items()} == {
        (0, 1): ["cat"], (0, 2): ["dog", "cat"], (1, 2): ["cat"],
    }  # fmt: skip
    assert found[0, 1]["member_captions"] == ["the cat is here", "a cat"]
    assert found[0, 2]["member_captions"] == ["a dog. the cat is here.", "a cat with a dog"]


def test_with_one_caption_each_no_caption_is_kept_besides(tmp_path: Path) -> None:
    table = mine_overlap(captions_context(tmp_path, ["a dog", "a big dog"])).table
    assert table["member_captions"].to_pylist() == [None]


def test_names_are_shared_only_where_asked_and_count_once(tmp_path: Path) -> None:
    captions: list[str | None] = ["Barack Obama in a suit", "a dog by Barack Obama", "a Nike bag", "a Nike shirt"]
    for names, shared in ((False, []), (True, [["barack obama"], ["nike"]])):
        ctx = captions_context(tmp_path / str(names), captions, sets=10, names=names)
        assert mine_overlap(ctx).table["shared_nouns"].to_pylist() == shared
