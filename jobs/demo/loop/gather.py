"""Gathers what the loop's page shows: scores of each model, and its comparisons of held-out pairs beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from customize.lmm.evaluate.intervals import Figure, share_figure
from jobs.demo.loop.check_items import CheckedComparison, CheckedItem, check_comparison, item_scores
from jobs.demo.loop.measure import SINGLE, Measured, held_out_pairs
from jobs.demo.loop.page import ComparedPair, LoopPage, ModelScores, SaidItem, render_loop_page
from jobs.demo.report import Stage
from jobs.progress import duration
from mining.annotate.comparison import Comparison
from mining.annotate.parse import parse_comparison
from scenes.world.scene import from_json

__all__ = ["MODELS", "comparison_scores", "gather_page"]

MODELS = {
    "base": "the scenes' LLaVA, which was never asked to compare",
    "phase 1": "tuned on comparisons from captions",
    "phase 2": "also on comparisons that phase 1 wrote from images and notes",
}
# Columns of the page's table.
TITLES = {
    "bison": "caption choice (BISON)",
    "svo": "subject, verb, object (SVO)",
    "eqben": "one change, both captions (EQBEN)",
    "cola": "colors exchanged, both captions (COLA)",
    "nlvr2": "statements (NLVR2)",
    SINGLE: "questions about one image",
    "differences precision": "stated differences that are true",
    "differences recall": "true differences that are stated",
    "commonalities precision": "stated commonalities that are true",
    "commonalities recall": "true commonalities that are stated",
}


def checked_replies(measured: Measured, held_out: Path, count: int) -> dict[str, CheckedComparison]:
    """The model's comparisons of the first `count` held-out pairs, checked; a reply that is none counts as empty."""
    found = {}
    for record in held_out_pairs(held_out, count):
        said = parse_comparison(measured.replies.get(record["pair"], ""))
        comparison = said if isinstance(said, Comparison) else Comparison()
        first, second = (from_json(scene) for scene in record["scenes"])
        found[record["pair"]] = check_comparison(comparison, first, second)
    return found


def comparison_scores(measured: Measured, held_out: Path, count: int) -> dict[str, Figure]:
    """Precision and recall of both lists, over all pairs and by axis, see `item_scores`; and how many replies parse."""
    checked = checked_replies(measured, held_out, count)
    parsed = [isinstance(parse_comparison(measured.replies.get(pair, "")), Comparison) for pair in checked]
    return {**item_scores(list(checked.values())), "comparisons that parse": share_figure(sum(parsed), len(parsed))}


def gather_page(
    held_out: Path,
    measured: Mapping[str, Measured],
    figures: Mapping[str, Mapping[str, Figure]],
    shown_pairs: int,
    stages: Sequence[Stage],
    counts: Mapping[str, int],
) -> str:
    """The page as HTML.

    Args:
        held_out: the folder of held-out scenes.
        measured, figures: by the names of MODELS; what a model replied, and its figures by the names of TITLES.
        shown_pairs: how many of the held-out pairs are shown.
        counts: what is counted, such as "pairs mined".
    """
    models = [ModelScores(name, MODELS[name], _row(figures[name])) for name in measured]
    checked = {name: checked_replies(each, held_out, shown_pairs) for name, each in measured.items()}
    shown = []
    for record in held_out_pairs(held_out, shown_pairs):
        pair = record["pair"]
        first, second = ((held_out / name).read_bytes() for name in record["image"])
        said, raw = {}, {}
        for name, each in measured.items():
            found = checked[name][pair]
            if found.commonalities or found.differences:
                said[name] = (_items(found.commonalities), _items(found.differences))
            else:
                raw[name] = each.replies.get(pair, "(no reply)")
        truth = [[item["text"] for item in record[name]] for name in ("commonalities", "differences")]
        shown.append(ComparedPair((first, second), (truth[0], truth[1]), said, raw))
    seconds = sum(stage.seconds for stage in stages)
    page = LoopPage(
        title="Clipmine: a model learns to compare images",
        intro="Pairs of drawn scenes were mined and compared by their captions; a small LLaVA was tuned on that, "
        "annotated further pairs from the images themselves, and was tuned again. What each scene shows is known, so "
        "every statement below was checked.",
        summary=[
            *((f"{count:,}", what) for what, count in counts.items()),
            *((f"{figures[name]['bison'].value or 0:.0%}", f"caption choice, {name}") for name in measured),
            (duration(seconds), "in all"),
        ],
        models=models,
        pairs=shown,
        stages=stages,
    )
    return render_loop_page(page)


def _row(figures: Mapping[str, Figure]) -> dict[str, tuple[float, str]]:
    row = {}
    for key, title in TITLES.items():
        figure = figures.get(key)
        if figure is not None and figure.value is not None:
            low, high = figure.low or 0.0, figure.high or 0.0
            row[title] = (figure.value, f"{low:.0%} to {high:.0%}")
    return row


def _items(items: Sequence[CheckedItem]) -> list[SaidItem]:
    return [SaidItem(item.text, item.right) for item in items]
