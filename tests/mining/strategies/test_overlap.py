"""Pairs by shared nouns: the levels are what they say, common ones are drawn, rare ones found, texts count once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.captions import noun_sample
from mining.strategies.context import Candidates, MiningContext, in_process
from mining.strategies.overlap import overlap
from mining.text.nouns import noun_extractor
from tests.mining.worlds import captions_context, skewed_captions


def mine_overlap(ctx: MiningContext) -> Candidates:
    return overlap(ctx, in_process(ctx))


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
        assert row["reasons"] == [f"share {row['level']} {noun}: {', '.join(row['shared_nouns'])}"]


@pytest.mark.parametrize("sample", [128, 8_192])
def test_levels_are_proposed_evenly_from_the_sample_as_from_the_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    monkeypatch.setattr(noun_sample, "SAMPLE", sample)
    candidates = mine_overlap(captions_context(tmp_path, skewed_captions(900), sets=60, levels=(1, 3, 5)))
    levels = Counter(candidates.table["level"].to_pylist())
    assert set(levels) == {1, 3, 5}
    assert max(levels.values()) == 80  # 4 x 60 / 3
    assert levels[1] == levels[3] == 80
    assert ("join" in candidates.notes[0]) == (sample == 128)


def test_at_least_n_nouns_as_cad_qa_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noun_sample, "SAMPLE", 64)
    captions = skewed_captions(900)
    table = mine_overlap(captions_context(tmp_path, captions, sets=100_000, min_shared_nouns=5)).table
    found = nouns(captions)
    expected = {(one, other) for other in range(900) for one in range(other) if len(found[one] & found[other]) >= 5}
    assert {tuple(rows) for rows in table["rows"].to_pylist()} == expected


def test_one_text_on_many_images_does_not_flood_the_result(tmp_path: Path) -> None:
    spam = "a red shoe and a bag and a hat and a coat on a table"
    captions: list[str | None] = [*skewed_captions(200), *[spam] * 400, *[spam.upper()] * 50]
    table = mine_overlap(captions_context(tmp_path, captions, sets=500)).table
    assert table.num_rows > 300
    both = sum(min(rows) >= 200 for rows in table["rows"].to_pylist())
    assert both == 0  # never with itself
    assert sum(max(rows) >= 200 for rows in table["rows"].to_pylist()) < table.num_rows // 4


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


def test_all_captions_of_an_image_count_where_asked(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, ["a dog", "a cat"], sets=10, which="all", lists=[["a dog", "the cat"], ["a cat"]])
    assert mine_overlap(ctx).table["shared_nouns"].to_pylist() == [["cat"]]
