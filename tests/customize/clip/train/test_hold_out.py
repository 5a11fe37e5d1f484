"""Held-out pairs are not trained on; they measure the base and the trained model, and a run that ends worse says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from customize.clip.objective import Targets, contrastive_loss
from customize.clip.train.hold_out import Figures, HeldOutCheck, compare
from customize.clip.train.image_inputs import decode_row
from customize.clip.train.loop import Loop
from customize.clip.train.prepare import Run
from customize.clip.train.train import train
from index.store.embedding_store import EmbeddingStore
from retrieval.retrieve import retrieve
from tests.customize.clip.train.runs import config, run
from tests.mining.made_sets import write_test_selection

Prepare = Callable[..., Run]


def test_held_out_pairs_are_not_trained_on(prepare: Prepare) -> None:
    prepared = prepare(hold_out=8, steps=9)
    assert len(prepared.held_out) == 8
    assert len(prepared.pairs) == 25
    held = set(prepared.held_out.keys(range(8)))
    with Loop(prepared).loader().steps(0, 9) as steps:
        seen = {key for step in steps for key in prepared.pairs.keys(step.rows)}
    assert not seen & held
    assert len(seen) == 24 or len(seen) == 25  # an epoch leaves one pair for the next


def test_the_base_is_measured_before_and_after(prepare: Prepare) -> None:
    prepared = prepare(hold_out=8, batch_size=8, strategy="full")
    check = HeldOutCheck(prepared)
    found = check.measure("before")
    model, held = prepared.loaded.model, prepared.held_out
    modes = [module.training for module in model.modules()]
    assert any(modes)
    model.eval()
    with torch.no_grad():
        pixels = torch.stack([prepared.loaded.preprocess(decode_row(held, row)[1]) for row in range(8)])
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(prepared.loaded.tokenizer(held.captions(range(8))), normalize=True)
        ids = torch.from_numpy(held.text_of.astype(np.int64))
        expected = contrastive_loss(image, text, model.logit_scale.exp(), Targets(0.9, ids)).loss
    assert found.losses.mean() == pytest.approx(float(expected), rel=1e-4)
    assert found.right is not None
    again = check.measure("after")
    np.testing.assert_allclose(again.losses, found.losses, atol=1e-5)
    assert compare(found, again, len(check.names)).change == "unclear"


def test_measuring_leaves_the_modes_of_training(prepare: Prepare) -> None:
    prepared = prepare(hold_out=8, strategy="locked-text")
    modes = [module.training for module in prepared.loaded.model.modules()]
    HeldOutCheck(prepared).measure("before")
    assert [module.training for module in prepared.loaded.model.modules()] == modes


def test_an_image_is_right_with_any_concept_that_retrieved_it(
    known_store: EmbeddingStore, prepare: Prepare, tmp_path: Path
) -> None:
    rows = list(range(33))
    selection = write_test_selection(known_store, tmp_path / "chosen", {"a shape": rows, "a form": rows, "empty": []})
    prepared = prepare(selection=selection, hold_out=10)
    check = HeldOutCheck(prepared)
    assert check.names == ("a shape", "a form", "empty")
    right = check.measure("before").right
    assert right is not None
    # Every pair was retrieved by the first two names; the third retrieved none.
    assert right.shape == (10,)
    with torch.inference_mode():
        middle = check._images("before")[1].mean(0)  # all images are on its side
    for place, expected in enumerate((True, True, False)):
        check._class_rows = torch.zeros(3, len(middle))
        check._class_rows[place] = middle
        found = check.measure("after").right
        assert found is not None
        assert (found == expected).all()


def test_one_concept_leaves_no_choice_and_the_summary_says_so(known_store: EmbeddingStore, tmp_path: Path) -> None:
    selection = retrieve(known_store, ["shape"], out=tmp_path / "chosen", mode="t2i", k=33, method="exact").path
    summary, _ = run(tmp_path / "model", selection, hold_out=8, cache_prefix=False)
    assert summary.held_out is not None
    assert (summary.held_out.concepts, summary.held_out.accuracy_after) == (1, None)
    assert ("zero-shot accuracy", "not measured: the selection has one concept") in summary.held_out.lines()


def test_concepts_of_one_name_are_one_class(known_store: EmbeddingStore, prepare: Prepare, tmp_path: Path) -> None:
    folder = tmp_path / "chosen"
    selection = write_test_selection(known_store, folder, {"a crane": list(range(20)), "a form": list(range(20, 33))})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["concepts"] = [{"name": "a crane", "class_id": number, "rows": 10} for number in ("134", "517")] + [
        {"name": "a form", "rows": 13}
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    check = HeldOutCheck(prepare(selection=selection, hold_out=10))
    assert check.names == ("a crane", "a form")
    assert check.measure("before").right is not None


def test_a_run_that_ends_worse_says_so_last_and_names_what_to_change(small_selection: str, tmp_path: Path) -> None:
    asked = {"hold_out": 16, "strategy": "full", "lr": 0.3, "steps": 20, "batch_size": 16}
    summary, _ = run(tmp_path / "model", small_selection, **asked)
    assert summary.held_out is not None
    assert summary.held_out.change == "worse"
    assert summary.held_out.accuracy_before is not None
    assert summary.held_out.accuracy_after is not None
    assert summary.held_out.accuracy_after < summary.held_out.accuracy_before
    line = summary.warnings[-1]
    assert line.startswith("the model is worse than the base on the 16 held-out pairs (zero-shot accuracy")
    assert "lower --lr, take --augment none, fewer --steps, or another --strategy" in line
    card = (tmp_path / "model" / "README.md").read_text()
    assert "- held-out loss: " in card
    assert "- change on held-out pairs: worse" in card
    assert "The base model is unchanged in its own folder" in card
    assert train(config(tmp_path / "model", small_selection, **asked)) == summary  # also when it is read again


def test_small_selections_and_tars_hold_nothing_out(
    small_selection: str, small_export: str, prepare: Prepare, known_store: EmbeddingStore, tmp_path: Path
) -> None:
    assert len(prepare().held_out) == 0
    summary, _ = run(tmp_path / "tars", tars=small_export, store=str(known_store.path))
    assert (summary.held_out, summary.pairs) == (None, 33)


@pytest.mark.parametrize(
    ("gains", "losses", "change"),
    [
        ([1.0] * 9 + [0.0], [-1.0] * 10, "better"),  # the accuracy decides where it is clear
        ([-1.0] * 9 + [0.0], [1.0] * 10, "worse"),
        ([1.0, -1.0] * 5, [-1.0, -0.5] * 5, "worse"),
        ([1.0, -1.0] * 5, [-1.0, 1.0] * 5, "unclear"),
        ([0.0] * 10, [0.5] * 10, "better"),
    ],
)
def test_a_change_counts_beyond_chance(gains: list[float], losses: list[float], change: str) -> None:
    right = np.array(gains) < 0
    before = Figures(np.full(10, 3.0), right)
    after = Figures(3.0 - np.array(losses), np.array([was or gain > 0 for was, gain in zip(right, gains, strict=True)]))
    after = Figures(after.losses, after.right & ~(np.array(gains) < 0) if after.right is not None else None)
    assert compare(before, after, 4).change == change
