"""The detect job: a CLIP and annotated images in, a detector and its AP50 out, with progress on stderr.

Training is `customize.clip.detect.train.train_detector`, measuring
`customize.clip.detect.evaluate.evaluate_detector`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from customize.clip.detect.config import DetectConfig
from customize.clip.detect.evaluate import Detected, evaluate_detector
from customize.clip.detect.folder import SavedDetector, load_detector
from customize.clip.detect.train import DetectRecord, DetectSummary, train_detector
from customize.clip.detect.vocabulary import load_vocabulary
from index.errors import BadInput
from index.files import join, write_atomic
from jobs.interrupt import stop_if_interrupted
from jobs.places import absolute
from jobs.progress import Progress
from jobs.training_progress import StepsProgress, TrainingProgress

__all__ = ["DetectRun", "HeldOutBoxes", "run_detect", "run_detect_test"]

RESULT_NAME = "result.json"


@dataclass(frozen=True)
class HeldOutBoxes:
    """What is measured on: COCO's annotation file, its images, and a split, or None for the detector's own classes."""

    annotations: str
    images: str
    split: str | None = None


@dataclass(frozen=True)
class DetectRun:
    """What was done: the training, if any, and what was measured, if anything; `result` is the file that holds it."""

    train: DetectSummary | None
    test: Detected | None
    result: str | None


class DetectProgress(StepsProgress[DetectRecord]):
    """Progress of a training run that also shows the loss."""

    def _rate(self) -> str:
        return "" if self.record is None else f"loss {self.record.loss:.4f}"


def run_detect(config: DetectConfig, test: HeldOutBoxes | None = None, *, objectness: bool = False) -> DetectRun:
    """Train a detector, or read the summary of a finished training, and measure it on `test`.

    Raises what `train_detector` and `evaluate_detector` raise.
    """
    config = replace(
        config, out=_place(config.out), annotations=_place(config.annotations), images=_place(config.images)
    )
    if test is not None:
        _check(test)
    show = TrainingProgress("detect", DetectProgress)
    summary = train_detector(config, on_step=show.step)
    if test is None:
        return DetectRun(summary, None, None)
    measured = run_detect_test(config.out, test, device=config.device, objectness=objectness)
    return DetectRun(summary, measured.test, measured.result)


def run_detect_test(
    detector: str, test: HeldOutBoxes, *, device: str | None = None, objectness: bool = False, result: str | None = None
) -> DetectRun:
    """Measure a detector. The result is written to `result`, by default to `result.json` in the detector's folder.

    objectness: see `customize.clip.detect.config.Recipe`.
    """
    _check(test)
    detector = _place(detector)
    saved = _with_objectness(load_detector(detector, device), objectness)
    vocabulary = None if test.split is None else load_vocabulary(test.split)
    with Progress("test", unit="images") as progress:

        def follow(done: int, total: int) -> None:
            progress.reach(done, total)
            stop_if_interrupted()

        found = evaluate_detector(saved, _place(test.annotations), _place(test.images), vocabulary, follow)
    path = result or join(detector, RESULT_NAME)
    write_atomic(path, json.dumps(asdict(found), indent=1, ensure_ascii=False) + "\n")
    return DetectRun(None, found, path)


def _check(test: HeldOutBoxes) -> None:
    """Raise for what can be known to be wrong before a training of days."""
    from customize.clip.evaluate.box_ap import need_pycocotools
    from index.files import exists

    need_pycocotools()
    for place in (test.annotations, test.images):
        if not exists(_place(place)):
            raise BadInput(f"{place}: there is no such file or folder to test on")


def _with_objectness(saved: SavedDetector, objectness: bool) -> SavedDetector:
    recipe = replace(saved.recipe, objectness=objectness)
    saved.detector.roi_heads.recipe = recipe
    return replace(saved, recipe=recipe)


def _place(path: str) -> str:
    return str(absolute(path))
