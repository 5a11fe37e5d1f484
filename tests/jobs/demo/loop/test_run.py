from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import BadInput
from jobs.demo.loop.run import LoopSummary, run_loop
from mining.sets.image_sets import ImageSets
from tests.jobs.demo.loop.conftest import SETTINGS


def test_the_loop_runs_from_scenes_to_its_page(loop: LoopSummary, root: Path) -> None:
    html = Path(loop.page).read_text()
    assert list(loop.figures) == ["base", "phase 1", "phase 2"]
    assert all({"bison", "eqben", "single"} <= set(figures) for figures in loop.figures.values())
    assert html.count('<section class="pair">') == SETTINGS.shown
    assert "draw" in loop.stages
    assert "measure" in loop.stages
    pairs = ImageSets.open(root / "pairs")
    assert loop.pairs == len(pairs) == len(pairs.filter(annotated="comparison"))


def test_both_phases_are_tuned_on_the_mixture_and_the_mined_pairs(root: Path) -> None:
    first, second = (json.loads((root / f"phase-{phase}" / "manifest.json").read_text()) for phase in (1, 2))
    assert set(first["sources"]) == {"instructions", "pairs", "choices"}
    # A model of two steps writes few comparisons that can be read, or none.
    kinds = {kind for kind, _ in ImageSets.open(root / "edited_pairs").annotations.counts()}
    said = {"instructions", "pairs", "choices"} | ({"edits"} if "comparison" in kinds else set())
    assert set(second["sources"]) == said
    assert "difference_note" in kinds


def test_a_rerun_finds_everything_done_and_gives_the_same_figures(loop: LoopSummary, root: Path) -> None:
    again = run_loop(loop.out, SETTINGS, executor="local", workers=1)
    assert again.figures == loop.figures
    assert again.stages == loop.stages


def test_a_folder_of_other_settings_is_refused(root: Path) -> None:
    with pytest.raises(BadInput, match="other settings"):
        run_loop(str(root), replace(SETTINGS, pairs=31))
