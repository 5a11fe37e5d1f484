"""The training loop: trains a prepared run from its last checkpoint to its end, and writes its log and checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable

import torch

from customize.clip.strategies import clamp_logit_scale
from customize.clip.train.accumulate import running_statistics
from customize.clip.train.checkpoint import last_checkpoint, restore_checkpoint, write_checkpoint
from customize.clip.train.collapse import CollapseWatch
from customize.clip.train.config import CustomizeConfig
from customize.clip.train.loader import CaptionTokens, StepInputs, StepLoader
from customize.clip.train.log import StepRecord, TrainLog
from customize.clip.train.prepare import Run
from customize.clip.train.rates import build_optimizer, set_rates
from customize.clip.train.schedule import BatchOrder, learning_rate
from customize.clip.train.step import TrainStep
from index.cores import usable_cores
from index.errors import ClipmineError
from index.files import join, write_atomic

__all__ = ["STEPS_NAME", "Loop"]

STEPS_NAME = "work/steps.json"  # the run's total number of steps, for programs that follow its log

# The most image-decoding processes per worker, by default: about this many keep a ViT-B-32 on a fast GPU busy.
MOST_LOADERS = 8


class Loop:
    """The state of training, restored from the run's last checkpoint if any: weights, running statistics, optimizer,
    averages and step."""

    def __init__(
        self,
        run: Run,
        on_step: Callable[[StepRecord, int], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self.prepared, self.on_step, self.on_warning = run, on_step, on_warning
        config, model = run.config, run.loaded.model
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = build_optimizer(config, self.trained) if self.trained else None
        self.averages = {name: p.detach().clone() for name, p in self.trained.items()} if config.ema else {}
        self.statistics = running_statistics(model)
        self.watch = CollapseWatch(config.batch_size)
        self.folder = join(config.out, "checkpoints")
        self.total = run.total_steps if self.trained else 0  # strategy none trains nothing
        self.warmup = config.warmup_steps(self.total)
        self.step = 0
        self.rate = 0.0
        self.saved = last_checkpoint(self.folder)
        if self.saved is not None and self.optimizer is not None:
            watch = restore_checkpoint(
                self.saved, run.identity, self.trained, self.optimizer, self.averages, self.statistics
            )
            self.watch.restore(watch)
            self.step = self.saved.step

    def run(self) -> None:
        """Train to the last step and write the last checkpoint.

        Raises:
            ClipmineError: the loss is not finite; the message names the batch's keys and the last good checkpoint.
        """
        run, config = self.prepared, self.prepared.config
        if self.optimizer is None:
            return
        step = TrainStep(run)
        if run.worker.first:
            write_atomic(join(config.out, STEPS_NAME), json.dumps({"steps": self.total}))
        log = (
            TrainLog(join(config.out, "log.jsonl"), join(config.out, "tensorboard"), self.step)
            if run.worker.first
            else None
        )
        started, first = time.monotonic(), self.step
        try:
            with self.loader().steps(self.step, self.total) as inputs:
                for batch in inputs:
                    record = self.take(step, batch)
                    if log is not None:
                        log.write(record)
                    if self.step % config.save_every == 0 and self.step < self.total:
                        self._checkpoint()
                    if self.on_step is not None:
                        self.on_step(record, self.total)
        finally:
            if log is not None:
                log.close()
        self.rate = (self.step - first) * config.batch_size / max(time.monotonic() - started, 1e-9)
        self._checkpoint()

    def loader(self) -> StepLoader:
        """The loader that reads this worker's share of every batch."""
        run, config = self.prepared, self.prepared.config
        order = BatchOrder(run.pairs.shard_of, config.batch_size, config.seed)
        cuda = run.device.startswith("cuda")
        return StepLoader(
            run.images,
            lambda step: run.worker.share(order.rows(step)),
            order.steps_per_epoch,
            CaptionTokens(run.pairs, run.loaded.tokenizer) if run.texts is None else None,
            _loaders(config, run, cuda),
            pin=cuda,
        )

    def take(self, step: TrainStep, batch: StepInputs) -> StepRecord:
        """Take one optimizer step, clamp the temperature, and update the averages.

        Raises ClipmineError when the loss is not finite.
        """
        run, config = self.prepared, self.prepared.config
        assert self.optimizer is not None
        share = learning_rate(self.step, self.total, self.warmup, 1.0)
        rates = set_rates(self.optimizer, config.rates(), share)
        self.optimizer.zero_grad(set_to_none=True)
        measured = step(batch)
        if not math.isfinite(measured.loss):
            self._stop(batch)
        gradients = [p.grad for p in self.trained.values() if p.grad is not None]
        run.worker.average(gradients)
        if config.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.trained.values(), config.grad_clip)
        self.optimizer.step()
        clamp_logit_scale(run.loaded.model)
        if config.ema:
            for name, average in self.averages.items():
                average.lerp_(self.trained[name].detach(), 1 - config.ema)
        self.step += 1
        scale = float(run.loaded.model.logit_scale.detach().exp())
        record = StepRecord(
            self.step,
            measured.loss,
            measured.accuracy,
            share * config.peak_lr(),
            scale,
            step.gates(),
            measured.alike,
            rates,
        )
        warning = self.watch.see(record)
        if warning is not None and self.on_warning is not None:
            self.on_warning(warning)
        return record

    def _stop(self, batch: StepInputs) -> None:
        """Raise the error for a loss that is not finite."""
        keys = self.prepared.pairs.keys(batch.rows)
        some = ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
        kept = f"the last good checkpoint is {self.saved.path}" if self.saved else "there is no checkpoint before it"
        raise ClipmineError(
            f"step {self.step + 1}: the loss is not finite, at the batch with keys {some}; {kept}; lower "
            "--lr, or leave these pairs out, and train into another --out"
        )

    def _checkpoint(self) -> None:
        run = self.prepared
        is_new = self.saved is None or self.saved.step < self.step
        if not run.worker.first or self.optimizer is None or not is_new:
            return
        written = write_checkpoint(
            self.folder,
            self.step,
            run.identity,
            self.trained,
            self.optimizer,
            self.averages,
            self.watch.state(),
            self.statistics,
        )
        self.saved = written or self.saved


def _loaders(config: CustomizeConfig, run: Run, cuda: bool) -> int:
    if config.loaders is not None:
        return config.loaders
    if cuda:
        return max(1, min(MOST_LOADERS, usable_cores() // max(1, run.worker.world_size)))
    return 0 if config.augment == "none" else 1  # on a CPU, decoding processes take cores from the step
