"""The model card: its statistics, and a card of few scenes written by the model in the repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from scenes.training.model_card import Model, main, recall_at, wilson, write_card
from scenes.training.train_clip import MODEL_FOLDER
from scenes.world.catalog import Catalog, load_catalog
from scenes.world.splits import GROUPS


def test_recall_counts_the_rank_of_the_diagonal() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.9, 0.8, 0.1]], np.float32)
    assert recall_at(similarity, (1, 2, 3)) == {"R@1": 0.3333, "R@2": 0.6667, "R@3": 1.0}


def test_wilson_intervals_are_those_of_the_formula() -> None:
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_vectors_have_unit_length_and_a_text_is_nearest_to_its_own_picture() -> None:
    model = Model(MODEL_FOLDER)
    texts = model.texts(["a red ball", "a horse in a meadow"])
    images = model.images([np.full((96, 96, 3), value, np.uint8) for value in (0, 255)])
    for vectors in (texts, images):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_card_has_figures_tables_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL_FOLDER, folder, ignore=shutil.ignore_patterns("card*", "README.md"))
    whole = load_catalog()
    few = Catalog({name: whole.types[name] for name in sorted(whole.types)[:6]}, whole.places)
    monkeypatch.setattr("scenes.training.model_card.load_catalog", lambda: few)
    figures = write_card(folder, scenes=12, count=1)
    assert figures == json.loads((folder / "card.json").read_text())
    assert figures["retrieval"]["scenes"] == 12
    assert tuple(figures["zero_shot"]) == (*GROUPS, "all")
    assert figures["zero_shot"]["all"]["images"] == 6
    card = (folder / "README.md").read_text()
    assert "## Retrieval among 12 test scenes" in card
    assert "python -m scenes.training.train_clip" in card
    assert {path.name for path in (folder / "card").iterdir()} == {
        "curve.png", "t2i_failures.png", "zero_shot_failures.png",
    }  # fmt: skip


def test_the_command_takes_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "folder" in capsys.readouterr().err
