"""What a tuning run takes in memory and hours, planned from its data and its model's configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    plan: Plan = plan_tuning(shape, trained_parts(config, bf16=True), work, hardware, sharded=config.shard_model)
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
    )


def plan_lines(plan: TunePlan) -> list[Line]:
    """The plan for people."""
    lines: list[Line] = [
        ("samples", plan.samples),
        ("steps", plan.steps),
        ("trained weights", plan.trained_weights),
        ("a sample", f"{plan.tokens:,.0f} tokens, {plan.images:.2f} images, {plan.trained_share:.0%} trained"),
    ]
    lines += [(f"GB a GPU: {name}", f"{size / 1e9:.1f}") for name, size in plan.memory.items()]
    total = sum(plan.memory.values()) / 1e9
    verdict = "fits" if plan.fits else "does not fit: --grad-checkpoint, --shard-model or a smaller --part-tokens"
    lines.append(("GB a GPU", f"{total:.1f} of {plan.available / 1e9:.0f}, {verdict}"))
    if plan.cache_bytes:
        lines.append(("GB of cached features", f"{plan.cache_bytes / 1e9:,.1f}"))
    lines.append(("hours", f"{plan.hours:.1f} on {plan.gpus} GPUs"))
    return lines


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
