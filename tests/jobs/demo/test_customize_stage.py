"""The demo's held-out pictures: each shows its concept, they are drawn once, and clipmine evaluate reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from customize.clip.evaluate.datasets.open import open_dataset
from customize.clip.evaluate.task_files import load_task, open_split
from index.store.embedding_store import EmbeddingStore
from jobs.demo import customize_stage, settings
from jobs.demo.customize_stage import customize_demo, draw_held_out
from retrieval.retrieve import retrieve

CONCEPTS = ("penguin", "blicket")


def test_pictures_show_their_concept_and_are_drawn_once(tmp_path: Path) -> None:
    tar = draw_held_out(CONCEPTS, tmp_path, 3)
    examples = list(open_dataset(tar, classes=CONCEPTS))
    assert [example.labels for example in examples] == [(0,)] * 3 + [(1,)] * 3
    assert examples[0].open().size == (96, 96)
    made = tar.stat().st_mtime_ns
    assert draw_held_out(CONCEPTS, tmp_path, 3).stat().st_mtime_ns == made


def test_the_task_file_leads_to_the_pictures(tmp_path: Path) -> None:
    draw_held_out(CONCEPTS, tmp_path, 2)
    task = load_task(str(tmp_path / settings.TASK))
    assert (task.kind, task.classes) == ("classification", CONCEPTS)
    assert len(list(open_split(task, None, "test"))) == 4


def test_both_models_are_measured_and_changes_are_counted(
    known_store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customize_stage, "HELD_OUT", 2)
    short = {"steps": 2, "batch_size": 8, "strategy": "locked-image", "gated_blocks": None}
    for name, value in short.items():
        monkeypatch.setitem(settings.CUSTOMIZE, name, value)
    selection = retrieve(known_store, list(CONCEPTS), out=tmp_path / "selection", mode="t2i", k=20).path
    report = customize_demo(str(known_store.path), selection, tmp_path, lambda name: f"group of {name}")
    assert [change.concept for change in report.concepts] == list(CONCEPTS)
    assert report.pictures == sum(change.pictures for change in report.concepts) == 4
    for before, name in ((True, "before"), (False, "after")):
        right = sum(change.before if before else change.after for change in report.concepts)
        assert getattr(report, name) == right / 4
    assert report.gained - report.lost == round(4 * (report.after - report.before))
    assert len(report.gained_shown) == report.gained
    assert report.interval[0] <= report.after - report.before <= report.interval[1]
    assert report.seen == 16
    assert np.isfinite(report.interval).all()
