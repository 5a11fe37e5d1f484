"""The report's section on customizing: figures, verdicts and flips."""

from __future__ import annotations

import dataclasses

import pytest

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
