"""Tunes a multimodal model and writes it; a run that was stopped resumes from its last checkpoint.

    summary = tune(TuneConfig(out="tuned", data=("pairs,cad=commonalities+differences+choice",), model="llava-folder",
                              stage="cad"))

    OUT/
      adapter/ or the merged model's files      see customize.lmm.model
      log.jsonl, generations.jsonl              one line a step; answers at intervals
      tensorboard/                              event files, with tracker="tensorboard"
      checkpoints/, work/                       for resuming; may be deleted at the end
      tune.json, manifest.json                  the run's identity, and the summary, written last

Every batch follows from the seed and the step, so a run that was killed and resumed has the losses of an uninterrupted
one. In a process group of torch.distributed each worker takes its share of every batch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from customize.clip.train.distributed import this_worker
from customize.lmm.model.trainable import count_parameters
from customize.lmm.train.checkpoint import whole_tensors
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.export import describe_run, export_model, export_paths, write_projector
from customize.lmm.train.generations import Generation
from customize.lmm.train.log import TuneRecord, read_records
from customize.lmm.train.loop import Loop
from customize.lmm.train.prepare import CLAIM, NO_OUTPUT, prepare_run
from customize.lmm.train.summary import SourceSummary, TuneSummary
from index.errors import BadInput
from index.files import join, read_bytes, write_atomic
from index.outputs import unused_claim_released

__all__ = ["TuneSummary", "tune"]


def tune(
    config: TuneConfig,
    *,
    on_step: Callable[[TuneRecord, int], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
    on_generations: Callable[[Sequence[Generation]], None] | None = None,
) -> TuneSummary:
    """Tune as `config` says. A run that was stopped resumes; of a finished run only the summary is read.

    Only the first worker calls on_step(record, total steps), on_progress(label, done, total) and
    on_generations(answers).

    Raises:
        BadInput, OutputExists: see `customize.lmm.train.prepare.prepare_run`; BadInput also where no image of the whole
            run could be read.
        ClipmineError: the loss is not finite; the message names samples of the batch and the last good checkpoint.
    """
    worker = this_worker()
    if not worker.first:
        on_step = on_progress = on_generations = None
    started = time.monotonic()
    with unused_claim_released(config.out, CLAIM, NO_OUTPUT, ours=worker.first):
        run = prepare_run(config, worker, on_progress)
        if run is None:
            return _read_summary(config.out)
        loop = Loop(run, on_step, on_generations)
        loop.run()
    state = whole_tensors(run.losses.model.state_dict(), worker) if run.sharded else None
    if not any(loop.samples_by_source.values()):
        raise BadInput(
            f"no sample was trained: each of the {sum(loop.unreadable.values()):,} taken has an image that cannot be "
            f"read; mend the images, or name their folder by images=FOLDER, and delete {config.out}"
        )
    if worker.first:
        write_projector(run.lmm, config.out, state)
        summary = _summary(loop, export_paths(config), started)
        export_model(run.lmm, config, run.template, describe_run(summary, config, run.described, run.identity), state)
        write_atomic(join(config.out, "manifest.json"), json.dumps(asdict(summary), indent=1) + "\n")
    worker.barrier()
    return _read_summary(config.out)


def _summary(loop: Loop, exported: Mapping[str, str], started: float) -> TuneSummary:
    run, config = loop.prepared, loop.prepared.config
    log = read_records(join(config.out, "log.jsonl"))
    tenth = max(1, len(log) // 10)
    sources = _sources(loop)
    parts = count_parameters(run.losses)
    last = log[-tenth:]
    return TuneSummary(
        out=config.out,
        stage=config.stage,
        train=config.recipe.train,
        sources=sources,
        taken=sum(each.taken for each in sources.values()),
        unreadable=sum(each.unreadable for each in sources.values()),
        trained=sum(loop.samples_by_source.values()),
        named=tuple(line for lines in run.data.skipped.named.values() for line in lines),
        trainable={"language model": parts.language_model, "projector": parts.projector},
        steps=loop.total,
        batch_size=config.recipe.batch_size,
        workers=run.worker.world_size,
        first_loss=sum(row.loss for row in log[:tenth]) / tenth if log else None,
        last_loss=sum(row.loss for row in last) / tenth if log else None,
        loss_by_source={name: loss for name in run.sources if (loss := _mean_loss(last, name)) is not None},
        images=run.images.kind,
        seconds=round(time.monotonic() - started, 1),
        samples_per_second=round(loop.rates[0], 1),
        tokens_per_second=round(loop.rates[1], 1),
        exported=exported,
    )


def _sources(loop: Loop) -> dict[str, SourceSummary]:
    run = loop.prepared
    found = {}
    for encoded in run.data.sources:
        usable, unreadable = len(encoded.usable()), loop.unreadable[encoded.name]
        taken = loop.samples_by_source[encoded.name] + unreadable
        found[encoded.name] = SourceSummary(len(encoded), usable, dict(encoded.reasons), taken, unreadable)
    return found


def _mean_loss(records: Sequence[TuneRecord], source: str) -> float | None:
    """The mean over the trained tokens of a source; None where the records have none of it."""
    own = [
        (row.loss_by_source[source], row.tokens_by_source[source]) for row in records if source in row.loss_by_source
    ]
    tokens = sum(count for _, count in own)
    return sum(loss * count for loss, count in own) / tokens if tokens else None


def _read_summary(out: str) -> TuneSummary:
    path = join(out, "manifest.json")
    try:
        plain: dict[str, Any] = json.loads(read_bytes(path))
        sources = {name: SourceSummary(**values) for name, values in plain["sources"].items()}
        known = {field.name: plain[field.name] for field in fields(TuneSummary)}
        return TuneSummary(**{**known, "out": out, "sources": sources, "named": tuple(plain["named"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path}: is damaged; delete it and run the same command again, which writes it anew") from error
