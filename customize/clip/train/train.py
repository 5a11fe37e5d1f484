"""Trains a customized model, from wherever it was stopped to its model folder.

    summary = train(CustomizeConfig(out="model", selection="selection"))

    OUT/
      open_clip_config.json, open_clip_model.safetensors, ...   the model, see customize.clip.model_folder
      log.jsonl                                                 one line a step
      tensorboard/                                              event files, where a writer is installed
      checkpoints/, work/                                       to go on after a kill; may be deleted at the end
      run.json, manifest.json                                   the claim, and the summary, written last

Every batch follows from the seed and the step, so a run that was killed goes on to the same curve. In a process group
of torch.distributed each worker takes its share of every batch. Knows no command and no Ray.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from customize.clip.model_card import describe_selection
from customize.clip.model_folder import save_customized
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.distributed import join_peers
from customize.clip.train.log import CollapseWatch, StepRecord, read_log
from customize.clip.train.loop import Loop
from customize.clip.train.prepare import Run, prepare_run
from index.files import join, read_bytes, write_atomic

__all__ = ["TrainSummary", "train"]


@dataclass(frozen=True)
class TrainSummary:
    """What a run did. Losses are means of the first and last tenth of the steps.

    `images` and `texts` say where the towers' inputs came from, so what was not computed; `pairs_per_second` is of
    the steps alone, in this run's last stretch.
    """

    out: str
    strategy: str
    pairs: int
    texts_distinct: int
    left_out: Mapping[str, int]
    trainable: Mapping[str, int]
    steps: int
    batch: int
    workers: int
    first_loss: float | None
    last_loss: float | None
    accuracy: float | None
    logit_scale: float
    gates: Mapping[str, float]
    images: str
    texts: str
    warnings: tuple[str, ...]
    seconds: float
    pairs_per_second: float


def train(
    config: CustomizeConfig,
    *,
    on_step: Callable[[StepRecord, int], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> TrainSummary:
    """Train as `config` says; run again after an interruption it goes on, when done it only reads the summary.

    on_step(record, steps in all), on_warning(one line) and on_progress(label, done, total) are called by the first
    worker alone.

    Raises:
        BadInput, ModelMismatch, OutputExists: see `customize.clip.train.prepare.prepare_run`.
        ClipmineError: the loss is no number any more; the message names the batch's keys and the last good checkpoint.
    """
    peers = join_peers()
    if not peers.first:
        on_step = on_warning = on_progress = None
    started = time.monotonic()
    run = prepare_run(config, peers, on_progress)
    if run is None:
        return _read_summary(config.out)
    loop = Loop(run, on_step, on_warning)
    loop.run()
    if peers.first:
        _save(loop, round(time.monotonic() - started, 1))
    peers.wait()
    return _read_summary(config.out)


def _save(loop: Loop, seconds: float) -> None:
    """Write the model and, last of all, the summary."""
    run, config, model = loop.prepared, loop.prepared.config, loop.prepared.loaded.model
    with torch.no_grad():
        for name, average in loop.averages.items():
            loop.trained[name].copy_(average)
    log = read_log(join(config.out, "log.jsonl")) if loop.total else []
    tenth = max(1, len(log) // 10)
    summary = TrainSummary(
        out=config.out,
        strategy=config.strategy,
        pairs=len(run.pairs),
        texts_distinct=int(run.pairs.text_of.max()) + 1,
        left_out=run.pairs.left_out,
        trainable=run.applied.trainable,
        steps=loop.total,
        batch=config.batch,
        workers=run.peers.count,
        first_loss=sum(row.loss for row in log[:tenth]) / tenth if log else None,
        last_loss=sum(row.loss for row in log[-tenth:]) / tenth if log else None,
        accuracy=sum(row.accuracy for row in log[-tenth:]) / tenth if log else None,
        logit_scale=float(model.logit_scale.detach().exp()),
        gates=log[-1].gates if log else {},
        images=run.images.kind,
        texts="the text tower" if run.texts is None else run.texts.source,
        warnings=_warnings(run, loop.watch),
        seconds=seconds,
        pairs_per_second=round(loop.rate, 1),
    )
    with torch.no_grad():
        save_customized(model, config.out, run.spec, config.strategy, _card(run, summary))
    write_atomic(join(config.out, "manifest.json"), json.dumps(asdict(summary), indent=1) + "\n")


def _warnings(run: Run, watch: CollapseWatch) -> tuple[str, ...]:
    warnings = []
    if run.selection is not None:
        without = [name for name, rows in run.selection.counts.items() if not rows]
        if without:
            named = ", ".join(without[:5])
            warnings.append(f"{len(without)} of {len(run.selection.concepts)} concepts have no images: {named}")
    if watch.warned:
        warnings.append(
            "the contrastive accuracy fell to half of its best or to chance, or texts became one, on the way"
        )
    return tuple(warnings)


def _card(run: Run, summary: TrainSummary) -> dict[str, Any]:
    training = {name: value for name, value in asdict(run.config).items() if name not in _NOT_ON_CARD}
    training |= {
        "lr": run.config.peak_lr(),
        "steps": summary.steps,
        "pairs": summary.pairs,
        "last_loss": summary.last_loss,
    }
    card: dict[str, Any] = {"training": training}
    if run.selection is not None:
        card["data"] = describe_selection(run.selection)
    return card


# Places say nothing elsewhere, and may say too much.
_NOT_ON_CARD = ("out", "store", "selection", "tars", "model", "device", "loaders", "save_every", "extra")


def _read_summary(out: str) -> TrainSummary:
    plain = json.loads(read_bytes(join(out, "manifest.json")))
    return TrainSummary(**{**plain, "out": out, "warnings": tuple(plain["warnings"])})
