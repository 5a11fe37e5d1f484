"""Trains a customized model and writes its model folder; a run that was stopped resumes from its last checkpoint.

    summary = train(CustomizeConfig(out="model", selection="selection"))

    OUT/
      open_clip_config.json, open_clip_model.safetensors, ...   the model, see customize.clip.model_folder
      log.jsonl                                                 one line a step
      tensorboard/                                              event files, where a writer is installed
      checkpoints/, work/                                       for resuming; may be deleted at the end
      run.json, manifest.json                                   the run's identity, and the summary, written last

Every batch follows from the seed and the step, so a run that was killed and resumed has the losses of an uninterrupted
one, up to rounding. In a process group of torch.distributed each worker takes its share of every batch.
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
from customize.clip.strategies import has_sigmoid_loss
from customize.clip.train.collapse import CollapseWatch
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.distributed import this_worker
from customize.clip.train.hold_out import HeldOut, HeldOutCheck, compare
from customize.clip.train.log import StepRecord, read_log
from customize.clip.train.loop import Loop
from customize.clip.train.prepare import CLAIM, NO_OUTPUT, Run, prepare_run
from index.files import join, read_bytes, write_atomic
from index.outputs import unused_claim_released
from index.store.output_register import register_output

__all__ = ["TrainSummary", "train"]

SOFTMAX = "CLIP's softmax loss"
SIGMOID = "SigLIP's sigmoid loss, as the model has a bias"


@dataclass(frozen=True, repr=False)
class TrainSummary:
    """What a run did.

    Attributes:
        left_out: reason -> number of pairs that could not be used.
        trainable: trained parameters by group, see `customize.clip.strategies.trainable_parameters`.
        batch: pairs a step.
        first_loss, last_loss: means over the first and the last tenth of the steps; None without steps.
        accuracy: mean over the last tenth of the steps.
        images, texts: where the inputs of the towers came from.
        seconds: duration of the last call that trained, with preparation.
        pairs_per_second: of the steps alone, since the last resume.
        objective: the loss that the steps lowered.
        augment: the augmentation of images; None in summaries of earlier versions.
        held_out: what changed on the pairs that were held out; None where there are none.
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
    objective: str = SOFTMAX
    augment: str | None = None
    held_out: HeldOut | None = None

    def __repr__(self) -> str:
        loss = "" if self.last_loss is None else f", loss {self.first_loss:.4f} -> {self.last_loss:.4f}"
        return f"TrainSummary({self.out!r}, {self.strategy}, {self.pairs:,} pairs, {self.steps:,} steps{loss})"


def train(
    config: CustomizeConfig,
    *,
    on_step: Callable[[StepRecord, int], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> TrainSummary:
    """Train as `config` says. A run that was stopped resumes; of a finished run only the summary is read.

    Only the first worker calls on_step(record, total steps), on_warning(line) and on_progress(label, done, total).

    Raises:
        BadInput, ModelMismatch, OutputExists: see `customize.clip.train.prepare.prepare_run`.
        ClipmineError: the loss is not finite; the message names the batch's keys and the last good checkpoint.
    """
    worker = this_worker()
    if not worker.first:
        on_step = on_warning = on_progress = None
    started = time.monotonic()
    with unused_claim_released(config.out, CLAIM, NO_OUTPUT, ours=worker.first):
        run = prepare_run(config, worker, on_progress)
        if run is None:
            return _read_summary(config.out)
        check = HeldOutCheck(run, on_progress) if worker.first and _is_checked(run) else None
        before = check.measure("before") if check is not None else None
        worker.barrier()
        loop = Loop(run, on_step, on_warning)
        loop.run()
        if worker.first:
            _use_averages(loop)
            held_out = None
            if check is not None and before is not None:
                held_out = compare(before, check.measure("after"), len(check.names))
            _save(loop, held_out, round(time.monotonic() - started, 1))
    worker.barrier()
    return _read_summary(config.out)


def _is_checked(run: Run) -> bool:
    return len(run.held_out) > 0 and run.applied.strategy.name != "none"


def _use_averages(loop: Loop) -> None:
    """Put the weights' averages in their place where the run has some."""
    with torch.no_grad():
        for name, average in loop.averages.items():
            loop.trained[name].copy_(average)


def _save(loop: Loop, held_out: HeldOut | None, seconds: float) -> None:
    """Write the model folder and then the summary, which marks the run as finished."""
    run, config, model = loop.prepared, loop.prepared.config, loop.prepared.loaded.model
    log = read_log(join(config.out, "log.jsonl")) if loop.total else []
    tenth = max(1, len(log) // 10)
    summary = TrainSummary(
        out=config.out,
        strategy=config.strategy,
        pairs=len(run.pairs),
        texts_distinct=int(run.pairs.text_of.max()) + 1,
        left_out=run.pairs.skipped,
        trainable=run.applied.trainable,
        steps=loop.total,
        batch=config.batch_size,
        workers=run.worker.world_size,
        first_loss=sum(row.loss for row in log[:tenth]) / tenth if log else None,
        last_loss=sum(row.loss for row in log[-tenth:]) / tenth if log else None,
        accuracy=sum(row.accuracy for row in log[-tenth:]) / tenth if log else None,
        logit_scale=float(model.logit_scale.detach().exp()),
        gates=log[-1].gates if log else {},
        images=run.images.kind,
        texts="the text tower" if run.texts is None else run.texts.source,
        warnings=_warnings(run, loop.watch, held_out),
        seconds=seconds,
        pairs_per_second=round(loop.rate, 1),
        objective=SIGMOID if has_sigmoid_loss(model) else SOFTMAX,
        augment=config.augment,
        held_out=held_out,
    )
    with torch.no_grad():
        save_customized(model, config.out, run.spec, config.strategy, _card(run, summary))
    write_atomic(join(config.out, "manifest.json"), json.dumps(asdict(summary), indent=1) + "\n")
    if run.store is not None:
        register_output(run.store, "model", config.out, ("work/pairs.arrow",))


def _warnings(run: Run, watch: CollapseWatch, held_out: HeldOut | None) -> tuple[str, ...]:
    warnings = []
    if run.selection is not None:
        without = [name for name, rows in run.selection.counts.items() if not rows]
        if without:
            named = ", ".join(without[:5])
            warnings.append(f"{len(without)} of {len(run.selection.concepts)} concepts have no images: {named}")
    if watch.warned:
        warnings.append(
            "during training the contrastive accuracy fell to half of its best or to chance, or most texts became one"
        )
    if worse := held_out.warning() if held_out is not None else None:
        warnings.append(worse)  # the last one, so that it is the last line
    return tuple(warnings)


def _card(run: Run, summary: TrainSummary) -> dict[str, Any]:
    rates = run.config.rates()
    training = {name: value for name, value in run.config.choices().items() if name not in _NOT_ON_CARD}
    training |= {
        "lr": run.config.peak_lr(),
        "lr_alpha": rates.get("alpha"),
        "lr_base": rates["base"],
        "steps": summary.steps,
        "pairs": summary.pairs,
        "last_loss": summary.last_loss,
    }
    if summary.objective != SOFTMAX:
        training["loss"] = summary.objective
    card: dict[str, Any] = {"training": training}
    if run.selection is not None:
        card["data"] = describe_selection(run.selection)
    if summary.held_out is not None:
        card["results"] = dict(summary.held_out.lines())
    return card


# Paths and options of one machine mean nothing on another, and may be private.
_NOT_ON_CARD = ("out", "store", "selection", "tars", "model", "device", "loaders", "save_every")


def _read_summary(out: str) -> TrainSummary:
    plain = json.loads(read_bytes(join(out, "manifest.json")))
    held_out = plain.get("held_out")
    known = {"out": out, "warnings": tuple(plain["warnings"]), "held_out": HeldOut(**held_out) if held_out else None}
    return TrainSummary(**{**plain, **known})
