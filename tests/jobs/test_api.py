"""The jobs as functions: what the commands do, with plain arguments, and bad input before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clipmine
from index.encoder.loading import load_encoder
from index.errors import BadInput


def test_from_a_corpus_to_a_selection(tiny_clip_dir: Path, small_corpus: Path, tmp_path: Path) -> None:
    store = clipmine.embed(small_corpus, tmp_path / "store", model_dir=tiny_clip_dir, batch_size=8)
    assert store.rows == 33
    image, text = clipmine.index(tmp_path / "store", queries=20)
    assert (image.modality, text.modality, image.rows) == ("image", "text", 33)
    selection = clipmine.retrieve(tmp_path / "store", ["red circle", "blue square"], out=tmp_path / "s", k=3)
    assert set(selection.to_pandas()["concept"]) <= {"red circle", "blue square"}
    assert len(selection.to_pandas()) == len(selection) > 0
    sets = clipmine.mine(tmp_path / "store", "random", tmp_path / "pairs", sets=3, near_duplicates=1.0)
    assert isinstance(sets, clipmine.ImageSets)
    assert repr(store) == f"EmbeddingStore({str(tmp_path / 'store')!r}, 33 rows x 16, images and texts)"
    assert repr(image).startswith("IndexSummary(image, 33 of 33 rows, recall@10 ")
    for shown in (store, image, selection, sets):
        assert "\n" not in repr(shown)


def test_a_retrieval_by_workers_selects_what_one_in_this_process_selects(
    tiny_clip_dir: Path, small_store: clipmine.EmbeddingStore, tmp_path: Path
) -> None:
    choices: dict[str, Any] = {"k": 3, "model_dir": tiny_clip_dir, "method": "exact"}
    here = clipmine.retrieve(small_store, ["red circle"], out=tmp_path / "here", **choices)
    shared = clipmine.retrieve(small_store, ["red circle"], out=tmp_path / "shared", workers=1, **choices)
    assert shared.table(["row_id", "mode", "rank"]).equals(here.table(["row_id", "mode", "rank"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "slurm"}, "slurm"),
        ({"kay": 3}, "unknown option kay: choose from reserve, method, block_queries, on_progress"),
        ({"workers": 2, "on_progress": print}, "unknown option on_progress"),
        ({"workers": 2, "encoder": object()}, "an encoder is not sent to other processes"),
    ],
)
def test_options_of_a_retrieval_that_cannot_work_are_refused(
    options: dict[str, Any], message: str, small_store: clipmine.EmbeddingStore, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        clipmine.retrieve(small_store, ["red circle"], out=tmp_path / "s", k=3, **options)
    assert not (tmp_path / "s").exists()


def test_customizing_goes_on_from_a_selection(
    tiny_clip_dir: Path, small_store: clipmine.EmbeddingStore, tmp_path: Path
) -> None:
    encoder = load_encoder(clipmine.ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")
    clipmine.retrieve(small_store, ["red circle", "blue square"], out=tmp_path / "s", k=5, encoder=encoder)
    summary = clipmine.customize(
        small_store.path,
        tmp_path / "s",
        out=tmp_path / "model",
        model_dir=tiny_clip_dir,
        strategy="locked-image",
        steps=2,
        batch_size=4,
        augment="none",
        device="cpu",
    )
    assert repr(summary).startswith(f"TrainSummary({str(tmp_path / 'model')!r}, locked-image, ")
    assert (tmp_path / "model" / "open_clip_model.safetensors").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: clipmine.embed("photos", out), "which model"),
        (
            lambda out: clipmine.embed("photos", out, model="ViT-B-32", batch=3),
            "unknown option batch: choose from .*batch_size",
        ),
        (lambda out: clipmine.index(out, "sound"), "unknown modality 'sound'"),
        (lambda out: clipmine.customize(out=out), "selection"),
        (lambda out: clipmine.evaluate(out, "no-such-task", out=out), "no-such-task"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(call: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(clipmine.ClipmineError, match=message):
        call(tmp_path / "out")
    assert not (tmp_path / "out").exists()
