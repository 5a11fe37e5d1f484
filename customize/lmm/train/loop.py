"""The tuning loop: trains a prepared run from its last checkpoint to its end, and writes its log and checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence

import torch

from customize.clip.train.checkpoint import last_checkpoint
from customize.clip.train.schedule import learning_rate
from customize.lmm.model.trainable import parameter_groups
from customize.lmm.train.checkpoint import restore_state, write_state
from customize.lmm.train.distributed import sum_gradients
from customize.lmm.train.generations import Generation, append_generations
from customize.lmm.train.interruption import noted_interruption
from customize.lmm.train.log import TuneLog, TuneRecord
from customize.lmm.train.prepare import Run, part_inputs
from customize.lmm.train.step import Measured, PartInputs, TuneStep
from index.errors import ClipmineError
from index.files import join, write_atomic

__all__ = ["STEPS_NAME", "Loop"]

STEPS_NAME = "work/steps.json"  # the run's total number of steps, for programs that follow its log
NAMED = 8  # samples that an error names

OnStep = Callable[[TuneRecord, int], None]
OnGenerations = Callable[[Sequence[Generation]], None]


class Loop:
    """The state of training (weights, optimizer, step), restored from the run's last checkpoint if there is one."""

    def __init__(self, run: Run, on_step: OnStep | None = None, on_generations: OnGenerations | None = None) -> None:
        self.prepared, self.on_step, self.on_generations = run, on_step, on_generations
        config = run.config
        self.trained = {name: p for name, p in run.losses.named_parameters() if p.requires_grad}
        groups = parameter_groups(run.losses, run.trained_parts)
        self.peaks = [float(group["lr"]) for group in groups]
        recipe = config.recipe
        self.optimizer = torch.optim.AdamW(groups, betas=recipe.betas, eps=recipe.eps, fused=not config.shard_model)
        self.folder = join(config.out, "checkpoints")
        self.total = run.total_steps
        self.warmup = math.ceil(recipe.warmup * self.total)
        self.step = 0
        self.rates = (0.0, 0.0)  # samples and tokens a second
        # Samples of all steps by source: those that were trained on, and those with an image that could not be read.
        self.samples_by_source = dict.fromkeys(run.sources, 0)
        self.unreadable = dict.fromkeys(run.sources, 0)
        self.saved = last_checkpoint(self.folder)
        if self.saved is not None:
            about = restore_state(self.saved, run.identity, self.trained, self.optimizer)
            self.unreadable = {name: int(count) for name, count in about["unreadable"].items()}
            self.samples_by_source = {name: int(count) for name, count in about["samples"].items()}
            self.step = self.saved.step

    def run(self) -> None:
        """Train to the last step and write the last checkpoint.

        Raises:
            KeyboardInterrupt: after Ctrl-C; a single worker ends its step and writes a checkpoint before.
            ClipmineError: the loss or the gradient is not finite; the message names samples of the batch and the last
                good checkpoint.
        """
        run, config = self.prepared, self.prepared.config
        take = TuneStep(
            run.losses,
            len(run.sources),
            run.worker,
            run.device,
            bf16=config.bf16(run.device),
            sharded=run.sharded,
            weigh=config.weigh,
        )
        log = None
        if run.worker.first:
            write_atomic(join(config.out, STEPS_NAME), json.dumps({"steps": self.total}))
            log = TuneLog(config, self.step)
        started, samples, tokens = time.monotonic(), 0, 0
        try:
            # Several workers write a checkpoint together, and a Ctrl-C does not reach all of them at one step.
            noted = noted_interruption(run.worker.world_size == 1)
            with noted as interruption, run.loader.steps(self.step, self.total) as steps:
                for loaded in steps:
                    record = self._take(take, [part_inputs(part, run.images) for part in loaded], started)
                    samples, tokens = samples + record.samples, tokens + record.tokens
                    if log is not None:
                        log.write(record)
                    if self.step % config.save_every == 0 and self.step < self.total:
                        self._checkpoint()
                    self._generate()
                    if self.on_step is not None:
                        self.on_step(record, self.total)
                    if interruption.asked:
                        self._checkpoint()
                        raise KeyboardInterrupt
        finally:
            if log is not None:
                log.close()
        seconds = max(time.monotonic() - started, 1e-9)
        self.rates = (samples / seconds, tokens / seconds)
        self._checkpoint()

    def _take(self, take: TuneStep, parts: Sequence[PartInputs], started: float) -> TuneRecord:
        """Take one optimizer step. Raises ClipmineError when the loss or the gradient is not finite."""
        run, recipe = self.prepared, self.prepared.config.recipe
        factor = learning_rate(self.step, self.total, self.warmup, 1.0)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = factor * peak
        self.optimizer.zero_grad(set_to_none=True)
        torch.manual_seed(_dropout_seed(run.config.seed, self.step, run.worker.rank))
        measured = take(parts)
        if not math.isfinite(measured.loss):
            self._stop("loss", measured, parts)
        sum_gradients(self.trained.values(), 1 if run.sharded else run.worker.world_size)
        norm = self._clip(recipe.grad_clip)
        if not math.isfinite(norm):
            self._stop("gradient", measured, parts)
        self.optimizer.step()
        self._count(measured)
        self.step += 1
        shown = [place for place, count in enumerate(measured.counts) if count]
        return TuneRecord(
            step=self.step,
            loss=measured.loss,
            lr=factor * recipe.lr,
            grad_norm=norm,
            samples=sum(measured.samples),
            trained_tokens=sum(measured.counts),
            tokens=measured.tokens,
            loss_by_source={run.sources[place]: measured.sums[place] / measured.weights[place] for place in shown},
            tokens_by_source={run.sources[place]: measured.counts[place] for place in shown},
            seconds=round(time.monotonic() - started, 3),
        )

    def _count(self, measured: Measured) -> None:
        """Count the samples of a step, and those of its batch that were left out as an image could not be read."""
        run = self.prepared
        planned = run.data.mixture.source_of(run.loader.plan.batch(self.step))
        for place, (name, trained) in enumerate(zip(run.sources, measured.samples, strict=True)):
            self.unreadable[name] += int((planned == place).sum()) - trained
            self.samples_by_source[name] += trained

    def _clip(self, most: float) -> float:
        """Scale the gradient down to a norm of `most`, unless that is 0; returns its norm before."""
        gradients = [p.grad for p in self.trained.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if hasattr(norm, "full_tensor"):
            norm = norm.full_tensor()
        if most and bool(torch.isfinite(norm)):
            torch.nn.utils.clip_grads_with_norm_(self.trained.values(), most, norm)
        return float(norm)

    def _stop(self, what: str, measured: Measured, parts: Sequence[PartInputs]) -> None:
        """Raise the error for a loss or gradient that is not finite."""
        names = measured.wrong or tuple(name for part in parts for name in part.sample_ids)
        some = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        kept = f"the last good checkpoint is {self.saved.path}" if self.saved else "there is no checkpoint before it"
        raise ClipmineError(
            f"step {self.step + 1}: the {what} is not finite, at the batch with samples {some}; {kept}; lower --lr, "
            "or leave these samples out, and train into another --out"
        )

    def _generate(self) -> None:
        run = self.prepared
        if run.generations is None or not run.worker.first or not run.generations.due(self.step, self.total):
            return
        found = run.generations.answer(self.step, run.config.bf16(run.device))
        append_generations(run.config.out, found, self.step - 1)
        if self.on_generations is not None:
            self.on_generations(found)

    def _checkpoint(self) -> None:
        run = self.prepared
        if self.saved is not None and self.saved.step >= self.step:
            return
        about = {"identity": run.identity, "samples": self.samples_by_source, "unreadable": self.unreadable}
        written = write_state(self.folder, self.step, about, self.trained, self.optimizer, run.worker)
        self.saved = written or self.saved


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    """The seed of dropout at a step, so that a resumed run draws as an uninterrupted one."""
    return (seed * 1_000_003 + step) * 4096 + rank
