"""What an evaluation measures: models, tasks, protocols and how heads and towers are trained. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from index.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from index.encoder.model_spec import ModelSpec

__all__ = ["PROTOCOLS", "EvaluateConfig"]

# Protocol -> the kind of task that it measures. The first protocol of a kind is its default.
PROTOCOLS: Mapping[str, str] = MappingProxyType(
    {
        "zeroshot": "classification",
        "linear-probe": "classification",
        "finetune": "classification",
        "retrieval": "retrieval",
        "segmentation": "segmentation",
        "regions": "regions",
    }
)


@dataclass(frozen=True)
class EvaluateConfig:
    """An evaluation, see `customize.clip.evaluate.evaluate.evaluate`.

    Attributes:
        models: pairs of the name in the tables and the model.
        tasks: names of task files that come with clipmine, or paths of task files.
        out: folder for the runs and tables.
        data: folder of the tasks' images, or hf:NAME; see `customize.clip.evaluate.task_files.open_split`.
        protocols: of PROTOCOLS; empty: each task's default.
        shots: images a class for the protocols that train; None among them is all images.
        shares: instead of shots, shares of each class's labels, above 0 and at most 1.
        train_list: instead of shots, a file with the names of the training images, see `train_list`.
        seeds: each draws a training set and trains on it.
        start: first weights of the classification head, see `customize.clip.evaluate.linear_probe.build_head`.
        epochs: of the final training; None: 50.
        quick_search: try nine hyper-parameter settings instead of about eighty (ELEVATER's search).
        lr, weight_decay: given, nothing is searched; weight_decay needs lr, and is 0 where only lr is given.
        batch_size: images that are encoded at once.
        device: "cpu", "cuda", ...; None: the fastest that this machine has.
        allow_empty: accept classes without images.
        self_training: steps of MaskCLIP+'s self-training, for segmentation; None: none.
        resolution: for segmentation and regions, pixels of the images' shorter side; None: the task's.
        window: for segmentation, the side of overlapping windows in pixels; None: the whole image at once.

    Raises:
        BadInput: options that contradict each other.
    """

    models: tuple[tuple[str, ModelSpec], ...]
    tasks: tuple[str, ...]
    out: str
    data: str | None = None
    protocols: tuple[str, ...] = ()
    shots: tuple[int | None, ...] = (5,)
    shares: tuple[float, ...] = ()
    train_list: str | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    start: str = "text"
    epochs: int | None = None
    quick_search: bool = False
    lr: float | None = None
    weight_decay: float | None = None
    batch_size: int = 64
    device: str | None = None
    allow_empty: bool = False
    self_training: int | None = None
    resolution: int | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        if not self.models or not self.tasks:
            raise BadInput("evaluate what? name at least one model and one --task")
        if self.weight_decay is not None and self.lr is None:
            raise BadInput(
                f"--weight-decay {self.weight_decay}: needs --lr; without --lr the search chooses both of them"
            )
        if self.train_list is not None and self.shares:
            raise BadInput(f"--train-list {self.train_list}: contradicts --share; give one of them")
        if self.quick_search and self.lr is not None:
            raise BadInput(f"--quick-search: with --lr {self.lr} nothing is searched; leave out one of the two")
