"""The card of a model: data, strategy, gates, and how to load it with and without gated blocks."""

from __future__ import annotations

from typing import Any

import pytest

from customize.clip.model_card import describe_selection, model_card
from retrieval.selection import Selection

DATA: dict[str, Any] = {
    "rows": 1200,
    "concepts": 2,
    "rows_by_concept": {"dog": 500, "horse | pony": 700},
    "mode": "t2i",
    "k": 600,
    "templates": {"name": "simple", "texts": ["a photo of a {}."]},
    "hits": 1500,
    "rules": {"cap": 700},
    "losses": {"cap": 300},
    "store": {"rows": 20000, "identity": "41fefd68", "model": {"name": "local-dir", "weights": "03c29b61"}},
}
ABOUT: dict[str, Any] = {
    "base": {"name": "ViT-B-32", "pretrained": "openai"},
    "strategy": "locked-text",
    "image_gates": [],
    "text_gates": [],
    "gates": {},
    "trainable": {"visual": 87_849_216, "logit_scale": 1},
    "logit_scale": 42.0,
    "card": {"data": DATA, "training": {"steps": 300, "lr": 5e-4, "betas": [0.9, 0.98]}, "results": {"dtd": 0.5}},
}
GATED = {**ABOUT, "image_gates": [10, 11], "gates": {"image": [[0.1, -0.2], [0.0, 0.3]]}}


def test_the_card_has_the_front_matter_of_the_hub() -> None:
    card = model_card(ABOUT)
    assert card.startswith("---\nlibrary_name: open_clip\n")
    assert "# ViT-B-32 (openai), customized" in card
    assert "| visual | 87,849,216 |" in card
    assert "exponentiated): 42.00" in card


def test_the_data_are_the_selections() -> None:
    card = model_card(ABOUT)
    for fact in (
        "1,200 image-text pairs of 2 concepts, retrieved from a store of 20,000 rows",
        "identity `41fefd68`, embedded with local-dir, weights `03c29b61`",
        "t2i, 600 a prompt, templates simple: 1,500 hits",
        '- Rules: `{"cap": 700}`',
        "| cap | 300 |",
        "| horse \\| pony | 700 |\n| dog | 500 |",  # the largest first, and a | does not end a cell
    ):
        assert fact in card


def test_only_the_largest_concepts_are_listed() -> None:
    many = {f"concept {number}": number for number in range(60)}
    card = model_card({**ABOUT, "card": {"data": {**DATA, "rows_by_concept": many}}})
    assert "| concept 59 | 59 |" in card
    assert "| concept 9 | 9 |" not in card
    assert "10 more are in customize.json." in card


def test_values_of_training_and_results_are_lists() -> None:
    card = model_card(ABOUT)
    assert "## Training\n\n- steps: 300\n- lr: 0.0005\n- betas: `[0.9, 0.98]`\n" in card
    assert "## Results\n\n- dtd: 0.5\n" in card
    assert "## Data" not in model_card({**ABOUT, "card": {}})


@pytest.mark.parametrize(("about", "loaded", "other"), [(ABOUT, "local-dir:FOLDER", "load_customized"),
                                                        (GATED, "load_customized", "local-dir:FOLDER")])  # fmt: skip
def test_it_says_how_to_load_the_model(about: dict[str, Any], loaded: str, other: str) -> None:
    card = model_card(about)
    assert loaded in card
    assert other not in card


def test_gates_are_listed_by_block() -> None:
    card = model_card(GATED)
    assert "Gates of the image tower:" in card
    assert "| 10 | +0.1000 | -0.2000 |\n| 11 | +0.0000 | +0.3000 |" in card


def test_a_selection_is_described_without_paths(small_selection: str) -> None:
    found = describe_selection(Selection.open(small_selection))
    assert (found["rows"], found["concepts"], found["mode"], found["k"]) == (33, 4, "t2i", 33)
    assert sum(found["rows_by_concept"].values()) == 33
    assert found["store"]["rows"] == 33
    assert small_selection not in str(found)
    assert model_card({**ABOUT, "card": {"data": found}})
