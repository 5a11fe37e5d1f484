"""What a tuning run takes in memory and hours, planned from its data files, the model's configuration and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from customize.lmm.data.mixture import Mixture
from customize.lmm.data.sample import LmmSample
from customize.lmm.data.sources import open_part
from customize.lmm.model.plan import Hardware, Plan, Workload, plan_tuning
from customize.lmm.model.shape import read_shape
from customize.lmm.model.source import LmmSource, local_checkpoint
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.prepare import GPU_PART, trained_parts
from index.errors import BadInput
from jobs.summary import Line
from mining.chat.checkpoint_loading import loading

__all__ = ["TunePlan", "parse_hardware", "plan_lines", "plan_run"]

READ = 500  # samples of each source whose lengths are measured
TEMPLATE_TOKENS = 45  # of a conversation in vicuna_v1 beside its texts: system prompt and roles


@dataclass(frozen=True)
class TunePlan:
    """What a run takes.

    Attributes:
        gpus, samples, steps: samples of all epochs.
        tokens, images, trained_share: of a sample, means over `measured` samples.
        memory: bytes a GPU, by what they are for. available: bytes that it has.
        hours: of the steps. cache_bytes: disk for cached features.
        checkpointed: bytes a GPU and hours of the same run with gradient checkpointing; None where it has it.
    """

    gpus: int
    samples: int
    steps: int
    measured: int
    tokens: float
    images: float
    trained_share: float
    trained_weights: int
    memory: Mapping[str, float]
    available: float
    fits: bool
    hours: float
    cache_bytes: int
    checkpointed: tuple[float, float] | None


def parse_hardware(text: str) -> Hardware:
    """GPUs as a user writes them: "A100-80GB:4", or "H100" for one. Raises BadInput."""
    name, _, count = text.partition(":")
    if count and not (count.isascii() and count.isdigit() and int(count)):
        raise BadInput(f"--plan {text}: write GPU:NUMBER, such as A100-80GB:4")
    return Hardware.named(name, int(count or 1))


def plan_run(config: TuneConfig, hardware: Hardware) -> TunePlan:
    """Plan a run; reads its data and the model's configuration and tokenizer, no weights and no images.

    Raises:
        BadInput: data or model cannot be used.
    """
    recipe = config.recipe
    parts = [open_part(text, seed=config.seed) for text in config.data]
    mixture = Mixture(parts, seed=config.seed)
    shape = read_shape(config.source)
    tokenizer = _tokenizer(config.source)
    texts, answers, images, measured = 0.0, 0.0, 0.0, 0
    for part, taken in zip(mixture.parts, mixture.counts, strict=True):
        some = np.unique(np.linspace(0, len(part.source) - 1, READ).astype(np.int64))
        found = [_measure(each, tokenizer) for each in part.source.read(some) if isinstance(each, LmmSample)]
        if not found:
            raise BadInput(f"{part.source.name}: none of its first samples can be trained on")
        own = np.mean(found, axis=0) * taken / mixture.epoch_samples
        texts, answers, images = texts + own[0], answers + own[1], images + own[2]
        measured += len(found)
    tokens = min(texts + images * shape.image_tokens + TEMPLATE_TOKENS, float(recipe.max_length))
    steps = config.total_steps(-(-mixture.epoch_samples // recipe.batch_size))
    samples = steps * recipe.batch_size if config.steps else round(mixture.epoch_samples * recipe.epochs)
    work = Workload(
        samples,
        tokens,
        images,
        part_tokens=config.part_tokens or GPU_PART,
        trained_share=min(1.0, answers / tokens),
        cached_images=round(mixture.epoch_samples * images) if config.cache_features else None,
    )

    def planned(asked: TuneConfig) -> Plan:
        return plan_tuning(shape, trained_parts(asked, bf16=True), work, hardware, sharded=asked.shard_model)

    plan = planned(config)
    other = None if config.grad_checkpoint else planned(replace(config, grad_checkpoint=True))
    return TunePlan(
        gpus=hardware.gpus,
        samples=samples,
        steps=steps,
        measured=measured,
        tokens=round(tokens, 1),
        images=round(images, 3),
        trained_share=round(work.trained_share, 3),
        trained_weights=plan.trained,
        memory=dict(plan.memory),
        available=plan.available,
        fits=plan.fits,
        hours=plan.hours,
        cache_bytes=plan.cache_bytes,
        checkpointed=None if other is None else (other.total, other.hours),
    )


def plan_lines(plan: TunePlan) -> list[Line]:
    """The plan for people."""
    lines: list[Line] = [
        ("samples", plan.samples),
        ("steps", plan.steps),
        ("trained weights", plan.trained_weights),
        ("a sample", f"{plan.tokens:,.0f} tokens, {plan.images:.2f} images, {plan.trained_share:.0%} trained"),
    ]
    lines += [(f"memory of a GPU: {name}", _size(size)) for name, size in plan.memory.items()]
    lines.append(
        ("memory of a GPU", f"{_size(sum(plan.memory.values()))} of {_size(plan.available)}, {_verdict(plan)}")
    )
    if plan.cache_bytes:
        lines.append(("cached features on disk", _size(plan.cache_bytes)))
    lines.append(("time", f"{_time(plan.hours)} on {plan.gpus} GPU{'s' if plan.gpus > 1 else ''}"))
    return lines


def _verdict(plan: TunePlan) -> str:
    if plan.fits:
        return "fits"
    if plan.checkpointed is None:
        return "does not fit: try --shard-model or a smaller --part-tokens"
    memory, hours = plan.checkpointed
    more = "" if memory <= plan.available else "; add --shard-model or a smaller --part-tokens"
    return f"does not fit; with --grad-checkpoint it takes {_size(memory)} and {_time(hours)}{more}"


def _size(count: float) -> str:
    """Bytes as people read them: "27.3 GB", "640 MB", "0.4 MB"."""
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} hours"
    minutes = 60 * hours
    return f"{minutes:.0f} minutes" if minutes >= 1.5 else "1 minute" if minutes >= 1 else "less than a minute"


def _measure(sample: LmmSample, tokenizer: Any) -> tuple[float, float, float]:
    """Tokens of a sample's texts, of its answers with their stops, and its images."""
    sizes = [(turn.role, len(tokenizer(turn.text, add_special_tokens=False)["input_ids"])) for turn in sample.turns]
    answers = [size + 1 for role, size in sizes if role == "assistant"]
    return sum(size for _, size in sizes), sum(answers), sum(len(turn.images) for turn in sample.turns)


def _tokenizer(source: LmmSource) -> Any:
    from transformers import AutoTokenizer

    name = source.model or source.language_model
    assert name is not None
    folder = local_checkpoint(name, "the model", weights=False)
    with loading(folder):
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
