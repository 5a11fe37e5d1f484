"""The demo page's section on customizing, and the pictures that it counts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from customize.clip.evaluate.datasets.open import open_dataset
from jobs.commands.customize import command as customize_command
from jobs.demo.customize_stage import customize_commands, draw_held_out
from jobs.demo.report_customize import ConceptChange, CustomizeReport, Flip, customize_section

REPORT = CustomizeReport(
    before=0.5,
    after=0.75,
    interval=(0.1, 0.4),
    pictures=8,
    concepts=[ConceptChange("dog", "frequent", 4, 2, 4), ConceptChange("<b>zorp</b>", "made up", 4, 2, 1)],
    gained=3,
    lost=1,
    gained_shown=[Flip(b"\xff\xd8", "dog", "<i>cat</i>", "dog")],
    lost_shown=[],
    seen=640,
    facts=[("strategy", "locked-text")],
)


def test_concepts_and_flips_are_shown_and_names_are_data() -> None:
    page = customize_section(REPORT)
    assert "<b>zorp</b>" not in page
    assert "&lt;b&gt;zorp&lt;/b&gt;" in page
    assert "&lt;i&gt;cat&lt;/i&gt; → dog" in page
    assert "50.0%" in page
    assert "75.0%" in page
    assert "+25.0" in page
    assert "+50" in page  # dog, 2 of 4 to 4 of 4
    assert "-25" in page
    assert "From right to wrong: none" in page
    assert page.count("data:image/jpeg;base64,") == 1


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.1, 0.4), "better, and by more than chance"),
        ((-0.1, 0.4), "not more than chance"),
        ((-0.4, -0.1), "worse, and by more than chance"),
    ],
)
def test_the_verdict_is_the_intervals(interval: tuple[float, float], verdict: str) -> None:
    assert verdict in customize_section(dataclasses.replace(REPORT, interval=interval))


def test_nothing_customized_is_no_section() -> None:
    assert customize_section(None) == ""


def test_held_out_pictures_show_their_concept_and_are_drawn_once(tmp_path: Path) -> None:
    concepts = ("penguin", "blicket")
    tar = draw_held_out(concepts, tmp_path, per_concept=3)
    examples = list(open_dataset(tar, classes=concepts))
    assert [example.labels for example in examples] == [(0,)] * 3 + [(1,)] * 3
    assert examples[0].open().size == (96, 96)
    made = tar.stat().st_mtime_ns
    assert draw_held_out(concepts, tmp_path, per_concept=3).stat().st_mtime_ns == made


def test_the_pages_command_is_one_that_clipmine_takes() -> None:
    (line,) = customize_commands()
    with customize_command.make_context("customize", line.split()[2:]) as context:
        assert context.params["store"] == "store"
        assert context.params["lr"] > 0
