"""The light parts of `benchmarks.service_attack`: what it counts, its image files, and one attack on a real service."""

from __future__ import annotations

import asyncio
import io
from urllib.parse import urlsplit

import pytest
from PIL import Image

from benchmarks.service_attack.attacker import Attacker
from benchmarks.service_attack.image_files import jpeg_of_scans, palette_png, pillow_file, png, tiny_avif_of
from benchmarks.service_attack.measure import Row, as_json, verdict
from benchmarks.service_attack.run_attack import load_attacks
from benchmarks.service_attack.table import HEAD, line_of
from benchmarks.service_attack.watch import Seen, p99
from index.store.embedding_store import EmbeddingStore
from retrieval.service.settings import Settings
from tests.serving import serving


def memory(at: float, mb: float, oldest: float = 0.0, search: float = 0.0) -> dict[str, object]:
    return {"kind": "memory", "at": at, "mb": mb, "files": 9, "oldest": oldest, "oldest_search": search}


def asked(kind: str, began: float, took: float, status: int | str = 200) -> dict[str, object]:
    return {"kind": kind, "what": "x", "began": began, "took": took, "status": status}


def test_a_probe_counts_for_the_attack_in_which_it_waited() -> None:
    seen = Seen()
    for line in (asked("probe", 1.0, 0.5), asked("probe", 9.9, 3.0), asked("probe", 20.0, 9.0, "timeout")):
        seen.add(line)
    assert seen.longest_probe(10, 12) == 3.0
    assert (seen.failed_probes(10, 12), seen.failed_probes(10, 21)) == (0, 1)


def test_a_probe_and_a_search_that_still_wait_count_as_well() -> None:
    seen = Seen()
    for line in (asked("probe", 10.0, 0.01), asked("search", 10.0, 0.01), memory(15.0, 100, oldest=4.5, search=4.6)):
        seen.add(line)
    assert seen.longest_probe(10, 16) == 4.5
    assert seen.search_seconds(10, 16) == [0.01, 4.6]
    assert seen.search_seconds(10, 10.2) == [0.01]  # it began later


def test_memory_is_back_within_a_tenth_or_50_mb_of_rest() -> None:
    seen = Seen()
    for at, mb in ((1.0, 100.0), (2.0, 900.0), (3.0, 400.0), (4.5, 149.0)):
        seen.add(memory(at, mb))
    assert seen.most_mb(1, 4) == 900
    assert seen.seconds_until_back(2.5, 100) == 2.0
    assert seen.seconds_until_back(2.5, 365) == 0.5
    assert seen.seconds_until_back(2.5, 20) is None


def test_searches_that_fail_are_counted_by_status() -> None:
    seen = Seen()
    for status in (200, 429, 429, "TimeoutError"):
        seen.add(asked("search", 1.0, 0.1, status))
    assert seen.failed_searches(0, 2) == {"429": 2, "TimeoutError": 1}
    assert seen.search_seconds(0, 2) == [0.1]


def test_the_99th_percentile_lies_within_what_was_seen() -> None:
    assert p99([1.0] * 99 + [5.0]) <= 5.0
    assert (p99([1.0]), p99([])) == (1.0, float("inf"))


def test_the_verdict_names_every_target_that_is_missed() -> None:
    assert verdict(0.1, 400, 2.0, 0, 3.0) == []
    assert verdict(0.3, 600, None, 1, float("inf")) == [
        "longest_probe", "above_rest_mb", "back_after", "failed_searches", "p99_ratio",
    ]  # fmt: skip


def test_a_row_becomes_a_line_and_json_without_infinite_numbers() -> None:
    row = Row(
        attack="a", longest_probe=0.25, failed_probes=0, rest_mb=900, above_rest_mb=12, back_after=None,
        failed_searches=0, failures={}, failed_lists=0, p99_ratio=float("inf"),
        quiet_p99=0.02, quiet_probe=0.01, searches=0, got={"413": 7}, said=["s"], stopped=False,
        died=False, verdict=["longest_probe", "back_after", "p99_ratio"],
    )  # fmt: skip
    assert "probe, back, p99" in line_of(row)
    assert "never" in line_of(row)
    assert "413: 7 (s)" in line_of(row)
    assert len(HEAD.split("verdict")[0]) == len(line_of(row).split("probe, back")[0])
    assert as_json(row)["p99_ratio"] is None


def test_every_attack_says_what_it_does() -> None:
    attacks = load_attacks()
    assert len(attacks) > 60
    assert all(attack.does.endswith(".") and len(attack.does) < 160 for attack in attacks.values())
    assert next(iter(attacks)) == "header_lines"


@pytest.mark.parametrize(
    "data",
    [
        png(64), palette_png(64), jpeg_of_scans(64, 3), pillow_file("GIF", 64), pillow_file("AVIF", 64, "RGB"),
        tiny_avif_of(64),
    ],
    ids=["png", "palette", "scans", "gif", "avif", "tiny-avif"],
)  # fmt: skip
def test_the_image_files_are_images(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (64, 64)


def test_a_progressive_jpeg_holds_its_scans_in_few_bytes() -> None:
    few, many = jpeg_of_scans(2_000, 1), jpeg_of_scans(2_000, 101)
    assert len(many) - len(few) < 100 * 30
    with Image.open(io.BytesIO(many)) as image:
        image.load()
        assert image.size == (2_000, 2_000)


def test_an_attack_counts_what_a_service_answers(small_store: EmbeddingStore) -> None:
    async def attack(port: int) -> Attacker:
        attacker = Attacker(port, 0.5, "other")
        await load_attacks()["unauthorised"].run(attacker)
        return attacker

    with serving(small_store, Settings(tokens=("one", "other"))) as url:
        attacker = asyncio.run(attack(urlsplit(url).port or 0))
    assert attacker.got["401"] > 0
    assert set(attacker.got) <= {"401", "429", "timeout", "closed"}
