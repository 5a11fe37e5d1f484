"""Which runs an evaluation has, and every protocol measured once on a small task."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from customize.clip.evaluate.config import EvaluateConfig
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.hyperparameters import Hyperparameters
from customize.clip.evaluate.linear_probe import TrainPlan
from customize.clip.evaluate.runs import Bench, Run, check_run, plan_runs
from customize.clip.evaluate.segmentation import Segmentation, segment
from customize.clip.evaluate.self_training import SelfTraining
from customize.clip.evaluate.task_files import Task, load_task
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from tests.index.corpora import encode, write_tar

CONFIG = EvaluateConfig(
    models=(("tiny", ModelSpec(model_dir="tiny")),), tasks=("colors",), out="out", shots=(5, None), seeds=(0, 1)
)
PLAN = TrainPlan(epochs=1, fixed=Hyperparameters(0.01, 0.0, None))


def test_a_task_has_the_default_protocol_of_its_kind(color_tasks: Path) -> None:
    assert plan_runs(CONFIG, load_task(color_tasks / "colors.yaml")) == [Run("colors", "zeroshot")]
    assert plan_runs(CONFIG, load_task(color_tasks / "captions.yaml")) == [Run("said", "retrieval")]


def test_few_shot_protocols_have_all_shots_or_shares_and_seeds(color_tasks: Path) -> None:
    task = load_task(color_tasks / "colors.yaml")
    both = dataclasses.replace(CONFIG, protocols=("zeroshot", "finetune"))
    assert [run.setting for run in plan_runs(both, task)] == [
        "zeroshot",
        *["finetune 5-shot"] * 2,
        *["finetune full"] * 2,
    ]
    shares = dataclasses.replace(both, shares=(0.01,))
    assert [(run.setting, run.seed) for run in plan_runs(shares, task)[1:]] == [
        ("finetune 1% labels, own draw", 0),
        ("finetune 1% labels, own draw", 1),
    ]
    listed = dataclasses.replace(both, train_list="lists/1percent.txt")
    assert [(run.setting, run.seed, run.train_list) for run in plan_runs(listed, task)[1:]] == [
        ("finetune 1percent.txt", seed, "lists/1percent.txt") for seed in (0, 1)
    ]


@pytest.mark.parametrize("protocol", ["linear-probe", "finetune"])
def test_a_list_of_images_is_trained_on_and_a_draw_is_said_to_be_ours(
    protocol: str, tiny: EvalModel, color_tasks: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("4.JPEG\n0.JPEG\n5.JPEG\n")
    bench = Bench(tiny, load_task(color_tasks / "colors.yaml"), plan=PLAN)
    listed = bench.measure(Run("colors", protocol, train_list=str(tmp_path / "list.txt")))
    assert (listed["train_images"], listed["train_set"]) == (3, "the 3 images of list.txt")
    drawn = bench.measure(Run("colors", protocol, share=0.5))
    assert drawn["train_set"].startswith(
        "50% of each class's images (3), drawn here by seed, which is no published list"
    )
    (tmp_path / "list.txt").write_text("n09.JPEG\n")
    with pytest.raises(BadInput, match=r"list\.txt: 1 of 1 names are no image of the training set, such as n09"):
        bench.measure(Run("colors", protocol, train_list=str(tmp_path / "list.txt")))


def test_an_unknown_protocol_and_one_that_does_not_fit_are_refused(color_tasks: Path) -> None:
    task = load_task(color_tasks / "colors.yaml")
    with pytest.raises(BadInput, match="unknown protocol 'detection': choose zeroshot, linear-probe"):
        check_run(task, Run("colors", "detection"))
    with pytest.raises(BadInput, match=r"about classification, .*; use zeroshot, linear-probe, finetune"):
        check_run(task, Run("colors", "regions"))


@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("protocol", ["zeroshot", "linear-probe", "finetune"])
def test_classification_gives_scores_by_class(
    protocol: str, share: float | None, tiny: EvalModel, color_tasks: Path
) -> None:
    bench = Bench(tiny, load_task(color_tasks / "colors.yaml"), plan=PLAN)
    found = bench.measure(Run("colors", protocol, None, share))
    assert found["metric"] == "accuracy"
    assert found["images"] == 6
    assert sum(right for right, _ in found["per_class"].values()) == round(6 * found["score"])
    if protocol != "zeroshot":
        assert found["train_images"] == (6 if share is None else 3)
        assert found["settings"] == {"lr": 0.01, "weight_decay": 0.0, "validation": None}


def test_retrieval_gives_recall_both_ways(tiny: EvalModel, color_tasks: Path) -> None:
    found = Bench(tiny, load_task(color_tasks / "captions.yaml")).measure(Run("said", "retrieval"))
    assert list(found["columns"]) == [f"{way} R@{k}" for way in ("I2T", "T2I") for k in (1, 5, 10)]
    assert found["score"] == pytest.approx(np.mean(list(found["columns"].values())))
    assert (found["images"], found["texts"]) == (6, 6)


def halves(folder: Path, kind: str) -> Task:
    """A picture that is half red and half blue, with its mask and its two boxes, in both splits."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 0] = pixels[:, 16:, 2] = 255
    mask = np.repeat(np.array([[0, 1]], np.uint8), 16, 1).repeat(32, 0)
    about = {"boxes": [[0, 0, 16, 32], [16, 0, 32, 32]], "box_labels": ["red", "blue"]}
    for split in ("train", "test"):
        (folder / split).mkdir()
        members = [
            ("0.png", encode(Image.fromarray(pixels))),
            ("0.json", json.dumps(about).encode()),
            ("0.mask.png", encode(Image.fromarray(mask))),
        ]
        write_tar(folder / split / "0.tar", members)
    task = f"name: halves\nkind: {kind}\nclasses: [red, blue]\ntemplates: ['a {{}}']\ndata: .\n"
    (folder / "halves.yaml").write_text(task + "splits: {train: train, test: test}\n")
    return load_task(folder / "halves.yaml")


def test_segmentation_gives_iou_plain_refined_and_self_trained(tiny: EvalModel, tmp_path: Path) -> None:
    bench = Bench(tiny, halves(tmp_path, "segmentation"), self_training=SelfTraining(steps=1))
    found = bench.measure(Run("halves", "segmentation"))
    assert list(found["columns"]) == ["plain", "refined", "self-trained"]
    assert found["score"] == found["columns"]["refined"]
    assert set(found["per_class_iou"]) <= {"red", "blue"}


def test_segmentation_has_the_resolution_that_is_asked_for_or_else_the_tasks(
    tiny: EvalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int | None, int | None]] = []

    def noted(*arguments: Any, resolution: int | None, window: int | None) -> Segmentation:
        seen.append((resolution, window))
        return segment(*arguments, resolution=resolution, window=window)

    monkeypatch.setattr("customize.clip.evaluate.runs.segment", noted)
    task = dataclasses.replace(halves(tmp_path, "segmentation"), resolution=48)
    training = SelfTraining(steps=1)
    Bench(tiny, task, self_training=training).measure(Run("halves", "segmentation"))
    Bench(tiny, task, resolution=61, window=32, self_training=training).measure(Run("halves", "segmentation"))
    assert seen == [(48, None)] * 3 + [(61, 32)] * 3
    assert load_task("coco-stuff").resolution == 512  # MaskCLIP's


def test_regions_give_ap50_on_true_boxes_and_on_a_grid(tiny: EvalModel, tmp_path: Path) -> None:
    found = Bench(tiny, halves(tmp_path, "regions")).measure(Run("halves", "regions"))
    assert list(found["columns"]) == ["true base", "true all", "grid base", "grid all"]
    assert (found["score"], found["images"]) == (found["columns"]["true all"], 2)


def test_the_features_of_a_split_are_computed_once(tiny: EvalModel, color_tasks: Path) -> None:
    bench = Bench(tiny, load_task(color_tasks / "colors.yaml"))
    assert bench.features("test") is bench.features("test")
