"""The report: one HTML file without anything from elsewhere, in which captions are text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from jobs.demo.report import ConceptHits, Hit, RecallCurve, Report, Stage, render_report

REPORT = Report(
    title="A <demo>",
    summary=[("2,000", "rows embedded")],
    stages=[Stage("embed", "vectors", 2_000, 4.0), Stage("index", "graphs", 4_000, 1.0)],
    curves=[RecallCurve("image", [8, 16, 32], [0.9, 0.96, 0.99], [0.8, 0.9, 0.95], 16, 0.95)],
    concepts=[
        ConceptHits(
            "<b>dog</b>",
            "frequent",
            [Hit(b"\x89PNG", '<script>alert("x")</script>', 0.31, True)],
            [Hit(b"\xff\xd8", "a cat", 0.9, False)],
            7,
        )
    ],
    rules=[("exclude", "near-duplicates", 12)],
    hits=19,
    selected=7,
    plans=["t2i: exact, because the store is small"],
    commands=["clipmine index 'a store' && echo <done>"],
)


class Tags(HTMLParser):
    """Which tags were opened and not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Opened and closed."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_tag_is_closed_and_nothing_is_loaded_from_elsewhere() -> None:
    page = render_report(REPORT)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not re.findall(r"(?:src|href)=.(?!data:image/)", page)


def test_names_captions_and_commands_are_text() -> None:
    page = render_report(REPORT)
    for text in ("<script>", "<b>dog</b>", "<demo>", "<done>"):
        assert text not in page
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in page
    assert "clipmine index &#x27;a store&#x27; &amp;&amp; echo &lt;done&gt;" in page


def test_figures_are_shown() -> None:
    page = render_report(REPORT)
    assert "T2I): 1 of 1 show it" in page
    assert "T2T): 0 of 1 show it" in page
    assert page.count('<figure class="right"') == page.count('<figure class="other"') == 1
    assert '<td class="n">2,000</td><td class="n">4.0 s</td><td class="n">500</td>' in page
    assert "in use: efSearch 16, recall@10 0.9600" in page
    assert "asked recall@10: 0.95" in page
    assert '<td>exclude</td><td>near-duplicates</td><td class="n">12</td>' in page


def test_an_empty_demo_is_a_page_too() -> None:
    page = render_report(replace(REPORT, stages=[], curves=[], concepts=[], rules=[], plans=[], commands=[]))
    assert page.startswith("<!doctype html>")
    assert "What customizing changed" not in page
