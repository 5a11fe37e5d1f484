"""The demo page's strips of mined sets."""

from __future__ import annotations

from pathlib import Path

from jobs.demo.pairs_stage import SHOWN, gather_strips
from jobs.demo.report_pairs import MinedSet, PairStrip, pairs_section
from jobs.mine_job import run_mine
from mining.strategies.context import MiningConfig
from tests.retrieval.stores import make_store, random_unit


def test_a_strip_shows_images_captions_and_reasons_and_captions_are_data() -> None:
    one = MinedSet(
        [(b"\xff\xd8", "<script>alert(1)</script>"), (b"\x89PNG", 'a "dog"')], 2, ["share 2 nouns: dog, ball"]
    )
    page = pairs_section([PairStrip("overlap", "captions that share nouns", 1_200, [one])])
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "level 2: share 2 nouns: dog, ball" in page
    assert "1,200 made" in page
    assert page.count("data:image/jpeg;base64,") == page.count("data:image/png;base64,") == 1


def test_nothing_mined_is_no_section() -> None:
    assert pairs_section([]) == ""


def test_the_strips_come_from_what_was_mined(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(24))
    out = str(tmp_path / "pairs")
    sets = run_mine(MiningConfig(str(store.path), out, (("random", 0.5), ("similar", 0.5)), sets=12))
    strips = gather_strips(store, sets)
    assert [strip.strategy for strip in strips] == ["random", "similar"]
    assert len(strips[0].sets) == SHOWN
    assert all(len(data) > 100 and caption for each in strips[0].sets for data, caption in each.images)
