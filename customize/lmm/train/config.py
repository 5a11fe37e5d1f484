"""The configuration of a tuning run: stage, model, data and overrides of the stage's values. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from customize.lmm.model.source import LmmSource
from customize.lmm.train.stages import TRAIN, Recipe, Train, stage_recipe
from index.errors import BadInput

__all__ = ["Export", "Precision", "Tracker", "TuneConfig", "Weigh"]

Precision = Literal["auto", "fp32", "bf16"]
Export = Literal["adapter", "merged", "both", "projector"]
Batching = Literal["length", "packed", "random"]
Weigh = Literal["tokens", "square", "answers"]
# Called as tracker(step, figures) by the first worker after each step.
Tracker = Callable[[int, Mapping[str, float]], None]

TRACKERS = ("tensorboard", "wandb")
# Fields that change how fast a run is, what it shows and where its files are, but not the trained weights.
_NOT_IDENTITY = (
    *("out", "data", "model", "device", "loaders", "save_every"),
    *("export", "tracker", "cache_features", "features", "grad_checkpoint", "shard_model", "part_tokens"),
    *("generate_on", "generate_every", "generate_count", "generate_tokens"),
)


_LARGEST_SEED = 2**31 - 1  # the seeds of dropout, which are made from it and the step, have 64 bits
# Values that may be given as 256 or 256.0.
_NUMBERS = tuple(each.name for each in fields(Recipe) if each.type == "float")


@dataclass(frozen=True)
class TuneConfig:
    """A run of `customize.lmm.train.tune.tune`. Fields that are None have the stage's value, see `recipe`.

    Attributes:
        out: folder of the tuned model, the log and the checkpoints.
        data: sources of samples, each PATH or PATH:WEIGHT, see `customize.lmm.data`.
        stage: align, instruct or cad.
        model: what training starts from: an `LmmSource`, or the name or folder of one checkpoint.
        train: projector, lora or full; None: the stage's own.
        template: the prompt's format.
        lr, projector_lr: peak learning rates, of the language model and of the projector.
        batch_size: samples a step, over all workers. epochs, steps: how long; `steps` wins.
        warmup: share of the steps. weight_decay, betas, eps: of AdamW. grad_clip: largest norm of the gradient, or
            0.
        max_length: most tokens of a sample; longer ones are left out and counted.
        lora_rank, lora_alpha, lora_dropout: of the adapters.
        batching: "length": samples of similar length and kind go together; "packed": several samples in one row without
            padding; "random": neither.
        weigh: "tokens": every trained token counts the same in the loss, as in LLaVA; "answers": every answer does,
            however long, so that choices of one letter count beside long answers; "square": an answer counts by the
            square root of its length.
        part_tokens: most tokens, padding included, that a worker computes at once; a step's samples are computed in as
            many parts as that takes, and the gradient is that of the whole batch. None: by device.
        cache_features: keep the frozen vision tower's features of each image, so that it runs once an image; None:
            where the tower is frozen, an image is seen more than once, and they fit on the disk.
        features: folder of these features, which several runs may share; None: OUT/work/features.
        precision: of the model's arithmetic; trained weights stay fp32. "auto": bf16 on CUDA, else fp32.
        grad_checkpoint: compute activations again in the backward pass, which saves memory.
        shard_model: with several workers, each holds a share of the weights (FSDP), not all of them.
        seed: of new weights, of the order of samples and of dropout.
        loaders: threads that decode images. save_every: steps between checkpoints.
        tracker: "tensorboard", "wandb", or a function tracker(step, figures).
        generate_on: a source of held-out samples; the model answers `generate_count` of them every `generate_every`
            steps, with at most `generate_tokens` tokens each.
        export: "adapter", "merged", "both", or "projector" alone; None: an adapter after LoRA, else the merged model.
        device: "cpu", "cuda", ...; None: the fastest that this machine has.

    Raises:
        BadInput: a value outside its range, or options that contradict each other.
    """

    out: str
    data: tuple[str, ...]
    model: LmmSource | str
    stage: str = "instruct"
    train: Train | None = None
    template: str | None = None
    lr: float | None = None
    projector_lr: float | None = None
    batch_size: int | None = None
    epochs: float | None = None
    steps: int | None = None
    warmup: float | None = None
    weight_decay: float | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    grad_clip: float | None = None
    max_length: int | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float | None = None
    batching: Batching = "length"
    weigh: Weigh = "tokens"
    part_tokens: int | None = None
    cache_features: bool | None = None
    features: str | None = None
    precision: Precision = "auto"
    grad_checkpoint: bool = False
    shard_model: bool = False
    seed: int = 0
    loaders: int | None = None
    save_every: int = 500
    tracker: str | Tracker | None = None
    generate_on: str | None = None
    generate_every: int = 200
    generate_count: int = 4
    generate_tokens: int = 128
    export: Export | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.out.strip():
            raise BadInput("--out is empty; name a folder for the model")
        if not self.data:
            raise BadInput("tune on what? name one source of samples at least (--data FILE)")
        for name, allowed in (
            ("train", (None, *TRAIN)),
            ("batching", get_args(Batching)),
            ("weigh", get_args(Weigh)),
            ("precision", ("auto", "fp32", "bf16")),
            ("export", (None, *get_args(Export))),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise BadInput(f"--{name} {value}: choose {', '.join(str(one) for one in allowed if one)}")
        if isinstance(self.tracker, str) and self.tracker not in TRACKERS:
            raise BadInput(f"--tracker {self.tracker}: choose {', '.join(TRACKERS)}, or give a function in Python")
        for name in ("steps", "part_tokens", "loaders", "save_every", "generate_every", "generate_count"):
            self._check_count(name, 1)
        self._check_count("generate_tokens", 1)
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise BadInput(f"--seed {self.seed}: must be a whole number from 0 to {_LARGEST_SEED:,}")
        if self.generate_on is not None and self.shard_model:
            raise BadInput("--generate-on: a model that is shared out (--shard-model) does not answer while it trains")
        self._check_recipe()
        if self.export in ("adapter", "both") and self.recipe.train != "lora":
            raise BadInput(f"--export {self.export}: {self.recipe.train} training makes no adapter; choose merged")

    def _check_count(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is not None and not value >= least:
            raise BadInput(f"--{name.replace('_', '-')} {value}: must be at least {least}")

    def _check_recipe(self) -> None:
        recipe = self.recipe
        for name in ("batch_size", "max_length", "lora_rank"):
            if getattr(recipe, name) < 1:
                raise BadInput(f"--{name.replace('_', '-')} {getattr(recipe, name)}: must be at least 1")
        for name in ("lr", "projector_lr", "epochs", "lora_alpha", "eps"):
            value = getattr(recipe, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"--{name.replace('_', '-')} {value}: must be a number above 0")
        for name in ("weight_decay", "grad_clip"):
            value = getattr(recipe, name)
            if not (math.isfinite(value) and value >= 0):
                raise BadInput(f"--{name.replace('_', '-')} {value}: must be a number from 0")
        for name in ("warmup", "lora_dropout"):
            if not 0 <= getattr(recipe, name) < 1:
                raise BadInput(
                    f"--{name.replace('_', '-')} {getattr(recipe, name)}: must be a share from 0 to less than 1"
                )

    @property
    def source(self) -> LmmSource:
        """What training starts from."""
        return LmmSource(model=self.model) if isinstance(self.model, str) else self.model

    @property
    def recipe(self) -> Recipe:
        """The stage's values with those that this configuration replaces."""
        own = stage_recipe(self.stage, self.train, self.source.projector_kind)
        # `source` is the recipe's own: where its numbers are from, not what training starts from.
        named = {field.name: getattr(self, field.name, None) for field in fields(Recipe) if field.name != "source"}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if own.train == "projector" and "lr" in given:  # one learning rate: that of the projector
            given.setdefault("projector_lr", given["lr"])
        return replace(own, **given)

    @property
    def exported(self) -> Export:
        """What is written, the projector's file aside."""
        return self.export or ("adapter" if self.recipe.train == "lora" else "merged")

    def identity(self, model: Mapping[str, Any], data: str) -> dict[str, Any]:
        """All that decides the trained weights, as plain JSON values.

        model: the base model's identity. data: hash of the samples. Parts of a step and workers change the order of
        sums only, so they do not count.
        """
        recipe = asdict(self.recipe)
        del recipe["source"]
        names = [each.name for each in fields(self) if each.name not in (*_NOT_IDENTITY, *recipe)]
        own = {name: getattr(self, name) for name in names}
        recipe = {name: float(value) if name in _NUMBERS else value for name, value in recipe.items()}
        return {**own, **recipe, "betas": list(recipe["betas"]), "model": dict(model), "data": data}

    def total_steps(self, steps_per_epoch: int) -> int:
        """Number of steps, when a pass over the data has `steps_per_epoch`."""
        return self.steps or max(1, round(self.recipe.epochs * steps_per_epoch))

    def bf16(self, device: str) -> bool:
        """Whether the model computes in bf16 on `device`."""
        return self.precision == "bf16" or (self.precision == "auto" and device.startswith("cuda"))
