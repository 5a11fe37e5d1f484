from __future__ import annotations

from jobs.demo.loop.page import ComparedPair, LoopPage, ModelScores, SaidItem, render_loop_page
from jobs.demo.report import Stage


def _page() -> LoopPage:
    pair = ComparedPair(
        images=(b"\x89PNG one", b"\xff\xd8 two"),
        truth=(["Both images show a dog."], ["The first is at night."]),
        said={"phase 1": ([SaidItem("Both images show a <dog>.", True)], [SaidItem("A red bus.", False)])},
        raw={"base": "the the <b>the"},
    )
    models = [
        ModelScores("base", "before", {"choice": (0.5, "0.4 to 0.6")}),
        ModelScores("phase 1", "captions", {"choice": (0.75, "0.7 to 0.8"), "precision": (0.6, "")}),
    ]
    return LoopPage("The loop", "Intro.", [("2", "models")], models, [pair], [Stage("mine", "pairs", 5, 1.0)])


def test_right_items_are_green_and_wrong_ones_red() -> None:
    html = render_loop_page(_page())
    assert '<li class="right">Both images show a &lt;dog&gt;.</li>' in html
    assert '<li class="wrong">A red bus.</li>' in html
    assert '<li class="">The first is at night.</li>' in html  # the truth is not marked


def test_what_is_no_comparison_is_shown_as_it_is_and_escaped() -> None:
    assert '<p class="raw">the the &lt;b&gt;the</p>' in render_loop_page(_page())


def test_the_best_score_is_bold_and_a_missing_one_a_dash() -> None:
    html = render_loop_page(_page())
    assert '<td class="n best">75.0%' in html
    assert '<td class="n">50.0%' in html
    assert '<td class="n">-</td>' in html


def test_models_stand_in_one_order_everywhere() -> None:
    """Also where a later model's reply is a comparison and the first one's is not."""
    html = render_loop_page(_page())
    assert html.index('<th class="n">base</th>') < html.index('<th class="n">phase 1</th>')
    assert html.index("<h4>base</h4>") < html.index("<h4>phase 1</h4>") < html.index("<h4>truth</h4>")
