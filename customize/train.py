"""Trains a customized model, from wherever it was stopped to its model folder.

    summary = train(CustomizeConfig(out="model", selection="selection"))

    OUT/
      open_clip_config.json, open_clip_model.safetensors, ...   the model, see customize.checkpoint_model
      log.jsonl                                                 one line a step
      tensorboard/                                              event files, where a writer is installed
      checkpoints/, work/                                       to go on after a kill; may be deleted at the end
      run.json, manifest.json                                   the claim, and the summary, written last

Every batch follows from the seed and the step, so a run that was killed goes on to the same curve. In a process group
of torch.distributed each worker takes its share of every batch. Knows no command and no Ray.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from customize.checkpoint_model import save_customized
from customize.config import CustomizeConfig
from customize.feed import Feed, StepInputs
from customize.model_card import describe_selection
from customize.peers import join_peers
from customize.schedule import BatchOrder, learning_rate
from customize.setup import Run, prepare_run
from customize.strategies import clamp_logit_scale
from customize.train_checkpoint import last_checkpoint, restore_checkpoint, write_checkpoint
from customize.train_log import CollapseWatch, StepRecord, TrainLog, read_log
from customize.train_step import TrainStep
from index.errors import ClipmineError
from index.files import join, read_bytes, write_atomic

__all__ = ["STEPS_NAME", "TrainSummary", "train"]

STEPS_NAME = "work/steps.json"  # how many steps the run takes in all, for whoever follows its log

# Processes that decode images, a worker, unless told: a ViT-B-32 on a fast GPU is kept busy by about so many.
MOST_LOADERS = 8


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
        BadInput, ModelMismatch, OutputExists: see `customize.setup.prepare_run`.
        ClipmineError: the loss is no number any more; the message names the batch's keys and the last good checkpoint.
    """
    peers = join_peers()
    if not peers.first:
        on_step = on_warning = on_progress = None
    started = time.monotonic()
    run = prepare_run(config, peers, on_progress)
    if run is None:
        return _read_summary(config.out)
    loop = _Loop(run, on_step, on_warning)
    loop.run()
    if peers.first:
        loop.save(round(time.monotonic() - started, 1))
    peers.wait()
    return _read_summary(config.out)


class _Loop:
    """The state that changes from step to step."""

    def __init__(
        self,
        run: Run,
        on_step: Callable[[StepRecord, int], None] | None,
        on_warning: Callable[[str], None] | None,
    ) -> None:
        self.own, self.on_step, self.on_warning = run, on_step, on_warning
        config, model = run.config, run.loaded.model
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = _optimizer(config, self.trained) if self.trained else None
        self.averages = {name: p.detach().clone() for name, p in self.trained.items()} if config.ema else {}
        self.watch = CollapseWatch(config.batch)
        self.folder = join(config.out, "checkpoints")
        self.total = run.total_steps if self.trained else 0  # strategy none has nothing to do
        self.warmup = config.warmup_steps(self.total)
        self.step = 0
        self.rate = 0.0
        self.saved = last_checkpoint(self.folder)
        if self.saved is not None and self.optimizer is not None:
            watch = restore_checkpoint(self.saved, run.identity, self.trained, self.optimizer, self.averages)
            self.watch.restore(watch)
            self.step = self.saved.step

    def run(self) -> None:
        """From the last checkpoint to the last step."""
        run, config = self.own, self.own.config
        if self.optimizer is None:
            return
        order = BatchOrder(run.pairs.shard_of, config.batch, config.seed)
        cuda = run.device.startswith("cuda")
        feed = Feed(
            run.images,
            lambda step: run.peers.share(order.rows(step)),
            order.steps_per_epoch,
            self._tokenize if run.texts is None else None,
            _loaders(config, run, cuda),
            pin=cuda,
        )
        step = TrainStep(run)
        if run.peers.first:
            write_atomic(join(config.out, STEPS_NAME), json.dumps({"steps": self.total}))
        log = (
            TrainLog(join(config.out, "log.jsonl"), join(config.out, "tensorboard"), self.step)
            if run.peers.first
            else None
        )
        started, first = time.monotonic(), self.step
        try:
            with feed.steps(self.step, self.total) as inputs:
                for batch in inputs:
                    record = self._take(step, batch)
                    if log is not None:
                        log.write(record)
                    if self.step % config.save_every == 0 and self.step < self.total:
                        self._checkpoint()
                    if self.on_step is not None:
                        self.on_step(record, self.total)
        finally:
            if log is not None:
                log.close()
        self.rate = (self.step - first) * config.batch / max(time.monotonic() - started, 1e-9)
        self._checkpoint()

    def _take(self, step: TrainStep, batch: StepInputs) -> StepRecord:
        run, config = self.own, self.own.config
        assert self.optimizer is not None
        rate = learning_rate(self.step, self.total, self.warmup, config.peak_lr())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, accuracy = step(batch)
        if not math.isfinite(loss):
            self._stop(batch)
        gradients = [p.grad for p in self.trained.values() if p.grad is not None]
        run.peers.average(gradients)
        if config.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.trained.values(), config.grad_clip)
        self.optimizer.step()
        clamp_logit_scale(run.loaded.model)
        if config.ema:
            for name, average in self.averages.items():
                average.lerp_(self.trained[name].detach(), 1 - config.ema)
        self.step += 1
        scale = float(run.loaded.model.logit_scale.detach().exp())
        record = StepRecord(self.step, loss, accuracy, rate, scale, step.gates())
        warning = self.watch.see(record)
        if warning is not None and self.on_warning is not None:
            self.on_warning(warning)
        return record

    def _stop(self, batch: StepInputs) -> None:
        """The loss is no number: say which batch, and where the last good weights are."""
        keys = self.own.pairs.keys(batch.rows)
        some = ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
        kept = f"the last good checkpoint is {self.saved.path}" if self.saved else "there is no checkpoint before it"
        raise ClipmineError(
            f"step {self.step + 1}: the loss is no number any more, at the batch with keys {some}; {kept}; lower "
            "--lr, or leave these pairs out, and train into another --out"
        )

    def _checkpoint(self) -> None:
        if self.own.peers.first and self.optimizer is not None and (self.saved is None or self.saved.step < self.step):
            written = write_checkpoint(
                self.folder,
                self.step,
                self.own.identity,
                self.trained,
                self.optimizer,
                self.averages,
                self.watch.state(),
            )
            self.saved = written or self.saved

    def _tokenize(self, rows: Any) -> torch.Tensor:
        return self.own.loaded.tokenizer(self.own.pairs.captions(rows))

    def save(self, seconds: float) -> None:
        """Write the model and, last of all, the summary."""
        run, config, model = self.own, self.own.config, self.own.loaded.model
        with torch.no_grad():
            for name, average in self.averages.items():
                self.trained[name].copy_(average)
        log = read_log(join(config.out, "log.jsonl")) if self.total else []
        tenth = max(1, len(log) // 10)
        summary = TrainSummary(
            out=config.out,
            strategy=config.strategy,
            pairs=len(run.pairs),
            texts_distinct=int(run.pairs.text_of.max()) + 1,
            left_out=run.pairs.left_out,
            trainable=run.applied.trainable,
            steps=self.total,
            batch=config.batch,
            workers=run.peers.count,
            first_loss=sum(row.loss for row in log[:tenth]) / tenth if log else None,
            last_loss=sum(row.loss for row in log[-tenth:]) / tenth if log else None,
            accuracy=sum(row.accuracy for row in log[-tenth:]) / tenth if log else None,
            logit_scale=float(model.logit_scale.detach().exp()),
            gates=log[-1].gates if log else {},
            images=run.images.kind,
            texts="the text tower" if run.texts is None else run.texts.source,
            warnings=_warnings(run, self.watch),
            seconds=seconds,
            pairs_per_second=round(self.rate, 1),
        )
        with torch.no_grad():
            save_customized(model, config.out, run.spec, config.strategy, _card(run, summary))
        write_atomic(join(config.out, "manifest.json"), json.dumps(asdict(summary), indent=1) + "\n")


def _optimizer(config: CustomizeConfig, trained: Mapping[str, torch.nn.Parameter]) -> torch.optim.AdamW:
    """As the released trainer: gains, biases, gates and the temperature do not decay."""
    decay = [p for p in trained.values() if p.ndim >= 2]
    plain = [p for p in trained.values() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.peak_lr(),
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


def _loaders(config: CustomizeConfig, run: Run, cuda: bool) -> int:
    if config.loaders is not None:
        return config.loaders
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cuda:
        return max(1, min(MOST_LOADERS, cores // max(1, run.peers.count)))
    return 1 if config.augment == "released" else 0  # on a CPU every core that decodes is missing in the step


def _warnings(run: Run, watch: CollapseWatch) -> tuple[str, ...]:
    warnings = []
    if run.selection is not None:
        without = [name for name, rows in run.selection.counts.items() if not rows]
        if without:
            named = ", ".join(without[:5])
            warnings.append(f"{len(without)} of {len(run.selection.concepts)} concepts have no images: {named}")
    if watch.warned:
        warnings.append("the contrastive accuracy fell to half of its best, or to chance, on the way")
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
