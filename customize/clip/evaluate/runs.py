"""A run measures one model on one task by one protocol; few-shot protocols also have a number of shots and a seed.

`plan_runs` lists the runs of an evaluation for a task. `Bench.measure` does one run and returns its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from customize.clip.evaluate.box_ap import need_pycocotools
from customize.clip.evaluate.config import PROTOCOLS, EvaluateConfig
from customize.clip.evaluate.datasets.dataset import Dataset
from customize.clip.evaluate.dense import square_side
from customize.clip.evaluate.features import EvalModel, Features, image_features
from customize.clip.evaluate.finetune import finetune
from customize.clip.evaluate.linear_probe import Adapted, TrainPlan, linear_probe
from customize.clip.evaluate.metrics import need_metric
from customize.clip.evaluate.regions import classify_regions
from customize.clip.evaluate.retrieval_recall import retrieval_recall
from customize.clip.evaluate.segmentation import Refinement, Segmentation, class_texts, segment
from customize.clip.evaluate.self_training import SelfTraining, self_train
from customize.clip.evaluate.shots import Rows, draw_share
from customize.clip.evaluate.task_files import Task, open_split
from customize.clip.evaluate.train_list import listed_rows, read_train_list
from customize.clip.evaluate.zero_shot import Classification, class_vectors, zero_shot
from index.errors import BadInput

__all__ = ["Bench", "Run", "check_run", "plan_runs"]

_FEW_SHOT = ("linear-probe", "finetune")


@dataclass(frozen=True)
class Run:
    """What to measure.

    Attributes:
        shots: training images a class; None: all of them. Only for few-shot protocols.
        share: instead of shots, the share of each class's labels to train on, drawn by `seed`.
        train_list: instead of shots, the file that names the training images.
        seed: of the training set and of training.
    """

    task: str
    protocol: str
    shots: int | None = None
    share: float | None = None
    seed: int = 0
    train_list: str | None = None

    @property
    def setting(self) -> str:
        """The protocol with its shots, which is the title of a table: "finetune 5-shot"."""
        if self.protocol not in _FEW_SHOT:
            return self.protocol
        if self.train_list is not None:
            return f"{self.protocol} {PurePath(self.train_list).name}"
        if self.share is not None:
            return f"{self.protocol} {100 * self.share:g}% labels, own draw"
        return f"{self.protocol} {'full' if self.shots is None else f'{self.shots}-shot'}"


def plan_runs(config: EvaluateConfig, task: Task) -> list[Run]:
    """The runs of one model on `task`: each protocol, for few-shot protocols with all shots (or shares) and seeds."""
    default = next(protocol for protocol, kind in PROTOCOLS.items() if kind == task.kind)
    sizes: list[tuple[int | None, float | None]] = [(None, share) for share in config.shares]
    if config.train_list is not None:
        sizes = [(None, None)]
    elif not sizes:
        sizes = [(shots, None) for shots in config.shots]
    runs = []
    for protocol in config.protocols or (default,):
        if protocol in _FEW_SHOT:
            runs += [
                Run(task.name, protocol, shots, share, seed, config.train_list)
                for shots, share in sizes
                for seed in config.seeds
            ]
        else:
            runs.append(Run(task.name, protocol))
    return runs


def check_run(task: Task, run: Run) -> None:
    """Raise BadInput when a protocol does not exist or does not fit the task, or a package is missing."""
    if run.protocol not in PROTOCOLS:
        raise BadInput(f"unknown protocol {run.protocol!r}: choose {', '.join(PROTOCOLS)}")
    if PROTOCOLS[run.protocol] != task.kind:
        fitting = ", ".join(name for name, kind in PROTOCOLS.items() if kind == task.kind)
        raise BadInput(f"task {task.name} is about {task.kind}, which {run.protocol} does not measure; use {fitting}")
    need_metric(task.metric)
    if task.kind == "regions":
        need_pycocotools()


@dataclass
class Bench:
    """A model and a task; the features of a split are computed once for all runs.

    Attributes:
        data: where the task's images are, see `task_files.open_split`.
        allow_empty: accept classes without images.
        plan: how few-shot protocols train.
        self_training: given, segmentation is also measured after MaskCLIP+'s self-training.
        resolution: of segmentation and regions; None: the task's.
        window: of segmentation.
    """

    model: EvalModel
    task: Task
    data: str | None = None
    batch_size: int = 64
    allow_empty: bool = False
    plan: TrainPlan = field(default_factory=TrainPlan)
    self_training: SelfTraining | None = None
    resolution: int | None = None
    window: int | None = None
    _features: dict[str, Features] = field(default_factory=dict)

    def split(self, name: str) -> Dataset:
        """The images of "train", "validation" or "test"."""
        return open_split(self.task, self.data, name)

    def features(self, name: str) -> Features:
        """The features of a split, computed at the first call."""
        if name not in self._features:
            self._features[name] = image_features(self.model, iter(self.split(name)), self.batch_size)
        return self._features[name]

    def measure(self, run: Run) -> dict[str, Any]:
        """The run's figures as plain data.

        Always `score` (0 to 1), `metric` and `images`; `columns`, where a protocol has several figures for the table.
        """
        check_run(self.task, run)
        return _MEASURES[run.protocol](self, run)


def _describe_classification(found: Classification) -> dict[str, Any]:
    return {
        "metric": found.metric,
        "score": found.score,
        "top5": found.top5,
        "images": found.images,
        "per_class": {name: list(counts) for name, counts in found.per_class.items()},
    }


def _describe_adapted(found: Adapted, run: Run) -> dict[str, Any]:
    chosen = found.hyperparameters
    about = {"lr": chosen.lr, "weight_decay": chosen.weight_decay, "validation": chosen.validation}
    described = {**_describe_classification(found.result), "train_images": found.train_images, "settings": about}
    if run.train_list is not None:
        described["train_set"] = f"the {found.train_images:,} images of {PurePath(run.train_list).name}"
    elif run.share is not None:
        described["train_set"] = (
            f"{100 * run.share:g}% of each class's images ({found.train_images:,}), drawn here by seed, which is no "
            "published list (--train-list)"
        )
    return described


def _zero_shot(bench: Bench, run: Run) -> dict[str, Any]:
    task = bench.task
    found = zero_shot(
        bench.model,
        bench.split("test"),
        task.templates,
        metric=task.metric,
        allow_empty=bench.allow_empty,
        features=bench.features("test"),
    )
    return _describe_classification(found)


def _linear_probe(bench: Bench, run: Run) -> dict[str, Any]:
    train = bench.features("train")
    chosen = _chosen(run, train.keys, train.labels)
    if chosen is not None:
        train = train.take(chosen)
    found = linear_probe(
        bench.model,
        train,
        bench.split("test"),
        bench.task.templates,
        shots=run.shots,
        seed=run.seed,
        metric=bench.task.metric,
        plan=bench.plan,
        test_features=bench.features("test"),
        allow_empty=bench.allow_empty,
    )
    return _describe_adapted(found, run)


def _chosen(run: Run, keys: Sequence[str], labels: Sequence[tuple[int, ...]]) -> Rows | None:
    """The positions of the training images where a list or a share of them decides, else None."""
    if run.train_list is not None:
        return listed_rows(keys, read_train_list(run.train_list), run.train_list)
    return None if run.share is None else draw_share(labels, run.share, run.seed)


def _finetune(bench: Bench, run: Run) -> dict[str, Any]:
    train = bench.split("train")
    chosen = None
    if run.share is not None or run.train_list is not None:
        chosen = _chosen(run, *zip(*((example.key, example.labels) for example in train), strict=True))
    found = finetune(
        bench.model,
        train,
        bench.split("test"),
        bench.task.templates,
        shots=run.shots,
        seed=run.seed,
        metric=bench.task.metric,
        plan=bench.plan,
        chosen=chosen,
        allow_empty=bench.allow_empty,
        batch_size=bench.batch_size,
    )
    return _describe_adapted(found, run)


def _retrieval(bench: Bench, run: Run) -> dict[str, Any]:
    found = retrieval_recall(
        bench.model, bench.split("test"), captions=bench.task.captions, batch_size=bench.batch_size
    )
    recalls = {f"I2T R@{k}": share for k, share in found.image_to_text.items()}
    recalls |= {f"T2I R@{k}": share for k, share in found.text_to_image.items()}
    return {
        "metric": "recall",
        "score": sum(recalls.values()) / len(recalls),
        "images": found.images,
        "texts": found.texts,
        "columns": recalls,
    }


def _segmentation(bench: Bench, run: Run) -> dict[str, Any]:
    task = bench.task
    texts = class_texts(bench.model, task.classes, task.templates, task.background)
    test, plain, refined = bench.split("test"), Refinement(smoothing=False, denoising=False), Refinement()
    resolution = bench.resolution or task.resolution

    def measured(model: EvalModel, refinement: Refinement) -> Segmentation:
        return segment(model, test, texts, refinement, resolution=resolution, window=bench.window)

    ways = {"plain": measured(bench.model, plain), "refined": measured(bench.model, refined)}
    if bench.self_training is not None and "train" in task.splits:
        side = None if resolution is None else square_side(bench.model, resolution)
        learner = self_train(bench.model, bench.split("train"), texts, refined, bench.self_training, side=side)
        ways["self-trained"] = measured(learner, plain)
    return {
        "metric": "mIoU",
        "score": ways["refined"].mean_iou,
        "images": ways["plain"].images,
        "columns": {name: found.mean_iou for name, found in ways.items()},
        "pixel_accuracy": {name: found.pixel_accuracy for name, found in ways.items()},
        "per_class_iou": ways["refined"].per_class,
    }


def _regions(bench: Bench, run: Run) -> dict[str, Any]:
    task = bench.task
    columns: dict[str, Any] = {}
    class_rows = class_vectors(bench.model, task.classes, task.templates)
    for proposals in ("true", "grid"):
        found = classify_regions(
            bench.model,
            bench.split("test"),
            class_rows,
            novel=task.novel,
            proposals=proposals,
            resolution=bench.resolution or task.resolution,
            allow_empty=bench.allow_empty,
        )
        groups = {"novel": found.novel, "base": found.base, "all": found.all}
        columns |= {f"{proposals} {name}": value for name, value in groups.items() if value is not None}
    return {
        "metric": "AP50",
        "score": columns["true all"],
        "images": found.boxes,
        "crowds": found.crowds,
        "columns": columns,
    }


_MEASURES: dict[str, Callable[[Bench, Run], dict[str, Any]]] = {
    "zeroshot": _zero_shot,
    "linear-probe": _linear_probe,
    "finetune": _finetune,
    "retrieval": _retrieval,
    "segmentation": _segmentation,
    "regions": _regions,
}
