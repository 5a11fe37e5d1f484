"""Finished runs are used again only where all that decides their figures is the same; where files lie is not of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from customize.clip.evaluate.config import EvaluateConfig
from customize.clip.evaluate.evaluate import evaluate
from customize.clip.evaluate.run_identity import describe_run, run_key, splits_of
from customize.clip.evaluate.runs import Run
from customize.clip.evaluate.task_files import load_task
from index.encoder.model_spec import ModelSpec
from tests.index.corpora import encode, write_tar


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPMINE_NO_FIGURES", "1")  # drawing them takes longer than the runs


def written(folder: Path, fields: dict[str, Any], captions: tuple[str, ...] = ("a red picture", "red")) -> None:
    """A task of two pictures, which has every kind of annotation, in the splits train, test and val."""
    for split in ("train", "test", "val"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        members = []
        for number, color in enumerate(("red", "blue")):
            about = {"label": number, "captions": captions, "boxes": [[0, 0, 16, 32]], "box_labels": [number]}
            members += [
                (f"{number}.png", encode(Image.new("RGB", (32, 32), color))),
                (f"{number}.json", json.dumps(about).encode()),
                (f"{number}.mask.png", encode(Image.fromarray(np.full((32, 32), number, np.uint8)))),
            ]
        write_tar(folder / split / "0.tar", members)
    about = {"name": "mine", "data": ".", "splits": {"train": "train", "test": "test"}, "templates": ["a {}"], **fields}
    if fields.get("kind") != "retrieval":
        about = {"classes": ["red", "blue"], **about}
    (folder / "task.yaml").write_text(json.dumps(about))


def asked(folder: Path, model: Path, **choices: Any) -> EvaluateConfig:
    models = (("tiny", ModelSpec(model_dir=str(model))),)
    return EvaluateConfig(models, (str(folder / "task.yaml"),), str(folder / "out"), device="cpu", **choices)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("retrieval", {"captions": 1}),
        ("classification", {"splits": {"test": "val"}}),
        ("classification", {"classes": ["crimson", "blue"]}),
        ("classification", {"metric": "mean-per-class"}),
        ("classification", {"folders": "sorted"}),
        ("classification", {"columns": {"label": "fine_label"}}),
        ("segmentation", {"background": ["sky", "ground"]}),
        ("segmentation", {"resolution": 48}),
        ("regions", {"novel": ["blue"]}),
        ("regions", {"resolution": 48}),
    ],
)
def test_a_changed_task_is_measured_anew(
    kind: str, change: dict[str, Any], tiny_clip_dir: Path, tmp_path: Path
) -> None:
    written(tmp_path, {"kind": kind})
    assert evaluate(asked(tmp_path, tiny_clip_dir)).reused == 0
    assert evaluate(asked(tmp_path, tiny_clip_dir)).reused == 1
    about = {**json.loads((tmp_path / "task.yaml").read_text()), **change}
    (tmp_path / "task.yaml").write_text(json.dumps(about))
    assert evaluate(asked(tmp_path, tiny_clip_dir)).reused == 0
    assert evaluate(asked(tmp_path, tiny_clip_dir)).reused == 1


def test_changed_images_and_captions_are_measured_anew_and_moved_ones_are_not(
    tiny_clip_dir: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    written(here, {"kind": "retrieval"})
    first = evaluate(asked(here, tiny_clip_dir))
    shutil.copytree(here, tmp_path / "there")  # keeps the files' times
    moved = evaluate(asked(tmp_path / "there", tiny_clip_dir))
    assert (moved.reused, moved.results) == (1, first.results)
    written(here, {"kind": "retrieval"}, captions=("a red picture", "red"))
    assert evaluate(asked(here, tiny_clip_dir)).reused == 0  # another time: perhaps others of the same length
    written(here, {"kind": "retrieval"}, captions=("a blue one",))
    assert evaluate(asked(here, tiny_clip_dir)).reused == 0


def test_a_changed_file_of_templates_is_measured_anew(tiny_clip_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "templates.txt").write_text("a {}\n")
    written(tmp_path, {"templates": str(tmp_path / "templates.txt")})
    assert evaluate(asked(tmp_path, tiny_clip_dir)).reused == 0
    (tmp_path / "templates.txt").write_text("a photo of a {}\n")
    assert evaluate(asked(tmp_path, tiny_clip_dir)).reused == 0
    assert evaluate(asked(tmp_path, tiny_clip_dir)).reused == 1


def test_options_decide_only_the_protocols_that_have_them(tiny_clip_dir: Path, tmp_path: Path) -> None:
    written(tmp_path, {"kind": "segmentation"})
    (tmp_path / "list.txt").write_text("0.png\n")
    base = asked(tmp_path, tiny_clip_dir)
    classification = dataclasses.replace(load_task(tmp_path / "task.yaml"), kind="classification", metric="accuracy")
    protocols = {
        "zeroshot": Run("mine", "zeroshot"),
        "finetune": Run("mine", "finetune", 5),
        "segmentation": Run("mine", "segmentation"),
        "regions": Run("mine", "regions"),
    }
    listed = dataclasses.replace(protocols["finetune"], train_list=str(tmp_path / "list.txt"))

    def key(config: EvaluateConfig, run: Run) -> str:
        return run_key(describe_run(config, config.models[0][1], classification, run, lambda split: split))

    def changed(**choices: Any) -> set[str]:
        other = dataclasses.replace(base, **choices)
        return {name for name, run in protocols.items() if key(base, run) != key(other, run)}

    assert changed(epochs=3) == changed(start="random") == changed(lr=0.1) == {"finetune"}
    assert changed(window=16) == changed(self_training=5) == {"segmentation"}
    assert changed(resolution=48) == {"segmentation", "regions"}
    assert changed(allow_empty=True) == set(protocols)
    assert changed(batch_size=3) == changed(data="elsewhere") == set()
    before = key(base, listed)
    (tmp_path / "list.txt").write_text("1.png\n")
    assert len({before, key(base, listed), key(base, protocols["finetune"])}) == 3


def test_the_training_split_decides_where_it_is_trained_on(tiny_clip_dir: Path, tmp_path: Path) -> None:
    written(tmp_path, {"kind": "segmentation"})
    task, base = load_task(tmp_path / "task.yaml"), asked(tmp_path, tiny_clip_dir)
    assert splits_of(base, task, Run("mine", "zeroshot")) == ["test"]
    assert splits_of(base, task, Run("mine", "linear-probe", 5)) == ["train", "test"]
    assert splits_of(base, task, Run("mine", "segmentation")) == ["test"]
    assert splits_of(dataclasses.replace(base, self_training=1), task, Run("mine", "segmentation")) == ["train", "test"]
