from __future__ import annotations

from pathlib import Path

from jobs.demo.loop.gather import comparison_scores, gather_page
from jobs.demo.loop.measure import Measured, held_out_pairs
from mining.annotate.comparison import Comparison, Item
from tests.jobs.demo.loop.conftest import SETTINGS


def _measured(root: Path, text: str | None = None) -> Measured:
    """What a model says that states the truth, or `text`, of every pair."""
    records = held_out_pairs(root / "held_out", SETTINGS.compared)
    return Measured("model", {}, {}, {record["pair"]: text or record["text"] for record in records})


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
    for name in measured:
        measured[name].figures["bison"] = comparison_scores(_measured(root), root / "held_out", 1)[
            "comparisons that parse"
        ]
    html = gather_page(root / "held_out", measured, SETTINGS, [], {"pairs mined": 3})
    assert '<li class="wrong">Both images show a zeppelin.</li>' in html
    assert '<li class="right">' in html
    assert '<p class="raw">hm</p>' in html
