from __future__ import annotations

from pathlib import Path

from customize.lmm.evaluate.intervals import share_figure
from jobs.demo.loop.gather import comparison_scores, gather_page
from jobs.demo.loop.measure import Measured, held_out_pairs
from mining.annotate.comparison import Comparison, Item
from tests.jobs.demo.loop.conftest import SETTINGS


def _measured(root: Path, text: str | None = None) -> Measured:
    """What a model says that states the truth, or `text`, of every pair."""
    records = held_out_pairs(root / "held_out", SETTINGS.compared)
    return Measured("model", {}, {}, {}, {}, {record["pair"]: text or record["text"] for record in records})


def test_the_truth_scores_high_and_nonsense_is_no_comparison(root: Path) -> None:
    held_out = root / "held_out"
    true = comparison_scores(_measured(root), held_out, SETTINGS.compared)
    assert true["differences precision"].value == 1
    assert true["comparisons that parse"].value == 1
    nonsense = comparison_scores(_measured(root, "the the the"), held_out, SETTINGS.compared)
    assert nonsense["comparisons that parse"].value == 0
    assert nonsense["differences recall"].value == 0


def test_wrong_items_are_red_on_the_page(root: Path) -> None:
    wrong = Comparison((Item("Both images show a zeppelin."),), (Item("Image 1 shows a harp."),)).text()
    measured = {"base": _measured(root, "hm"), "phase 1": _measured(root, wrong), "phase 2": _measured(root)}
    figures = {
        name: {**comparison_scores(each, root / "held_out", SETTINGS.compared), "bison": share_figure(3, 4)}
        for name, each in measured.items()
    }
    html = gather_page(root / "held_out", measured, figures, SETTINGS.shown, [], {"pairs mined": 3})
    assert "<b>75%</b><span>caption choice, base</span>" in html
    assert "stated differences that are true" in html
    assert '<li class="wrong">Both images show a zeppelin.</li>' in html
    assert '<li class="right">' in html
    assert '<p class="raw">hm</p>' in html
