"""The jobs as functions: what the commands do, with plain arguments, and bad input before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import clipmine


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: clipmine.embed("photos", out), "which model"),
        (
            lambda out: clipmine.embed("photos", out, model="ViT-B-32", batch=3),
            "unknown option batch: choose from .*batch_size",
        ),
        (lambda out: clipmine.index(out, "sound"), "unknown modality 'sound'"),
        (lambda out: clipmine.mine(out, "similr", out), "similr"),
        (lambda out: clipmine.customize(out=out), "selection"),
        (lambda out: clipmine.evaluate(out, "no-such-task", out=out), "no-such-task"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(call: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(clipmine.ClipmineError, match=message):
        call(tmp_path / "out")
    assert not (tmp_path / "out").exists()
