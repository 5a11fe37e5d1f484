"""The configuration of a training run: data, strategy and hyper-parameters, checked when it is made. Imports no torch.

The defaults are those of the REACT authors' released trainer (microsoft/react), except those that depend on the size of
the data.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from index.encoder.model_spec import ModelSpec, model_identity
from index.errors import BadInput

__all__ = ["CustomizeConfig", "Precision"]

Augment = Literal["auto", "released", "mild", "none"]
Precision = Literal["auto", "fp32", "bf16"]

GATED_LR = 5e-4  # the released trainer's for gated blocks, whose weights are new
DIRECT_LR = 5e-5  # the released trainer's for locked-text, which changes pre-trained weights
RELEASED_WARMUP = 5_000  # steps; the released trainer's
WARMUP_SHARE = 0.1  # share of all steps, for runs too short for the released warm-up; our choice, not compared

# Options that change how fast a run is and where its files are, but not the trained weights.
_NOT_IDENTITY = ("out", "device", "loaders", "save_every", "cache_prefix", "grad_checkpoint")
# Names in identities and on model cards that differ from the fields': files that exist have them.
_WRITTEN = {"batch_size": "batch"}
# Fields that may be given as 32 or 32.0.
_NUMBERS = ("epochs", "lr", "eps", "weight_decay", "grad_clip", "gamma", "ema")


@dataclass(frozen=True)
class CustomizeConfig:
    """A run of `customize.clip.train.train.train`.

    Attributes:
        out: folder of the model, the log and the checkpoints.
        store: the selection's store; None: where the selection says it is.
        selection: folder of a selection.
        tars: instead of a selection, tars or a folder of tars of image-text pairs (an export, or any webdataset).
        model: the model to start from; None: the model of the selection's store.
        strategy: which weights are trained, see `customize.clip.strategies.STRATEGIES`.
        gated_blocks: how many of a tower's last blocks get a gated block; None: 6, see
            `customize.clip.gated.default_gated_blocks`.
        epochs: passes over the pairs (released: 32).
        steps: number of steps; given, epochs are ignored.
        batch_size: pairs a step, over all workers (released: 4,096).
        accumulate: number of parts that a worker computes its share in; the gradient is that of the whole batch.
        lr: peak learning rate of what the strategy is about: the gated blocks of a gated strategy, else all trained
            weights; None: 5e-4 for gated strategies, 5e-5 for others.
        lr_alpha: peak learning rate of the gates' alphas; None: `lr`, as in the released trainer.
        lr_base: peak learning rate of what a gated strategy trains beside its gated blocks: `logit_scale`, and in
            gated-both the embeddings, outer norms and projections; None: `lr`, as in the released trainer, and in
            gated-both, of which no code was released, 5e-5 where `lr` is more.
        betas, eps, weight_decay: of AdamW.
        warmup: steps; None: 5,000, or a tenth of all steps where that is less.
        grad_clip: largest norm of the gradient; None: no limit.
        gamma: cosine from which two texts count as the same text (thesis: 0.9 for classification); None: CLIP's loss.
        augment: "released" or "mild" (see `customize.clip.train.augment`), or "none", the model's own validation
            transform; "auto": none below 100,000 pairs, mild below a million, else released.
        hold_out: number of pairs that are not trained on, by which the model is measured before and after; 0: none;
            None: 5% of a selection's pairs, at most 2,000, and none where that is below 20; none of tars.
        precision: of the model's arithmetic; weights stay fp32. "auto": bf16 on CUDA, else fp32.
        grad_checkpoint: compute activations again in the backward pass, which saves memory.
        ema: decay of an exponential moving average of the trained weights, which is then saved instead of them.
        seed: of new weights, the order of the pairs and augmentation.
        loaders: processes a worker that decode images; None: chosen by the number of cores.
        cache_prefix: cache the output of the frozen blocks below the first trained one (needs augment "none"); None:
            where this is possible, saves time and takes at most half of the free disk.
        save_every: steps between checkpoints.
        device: "cpu", "cuda", ...; None: the fastest that this machine has.

    Raises:
        BadInput: a value outside its range, or options that contradict each other.
    """

    out: str
    store: str | None = None
    selection: str | None = None
    tars: str | None = None
    model: ModelSpec | None = None
    strategy: str = "locked-text-gated-image"
    gated_blocks: int | None = None
    epochs: float = 32
    steps: int | None = None
    batch_size: int = 256
    accumulate: int = 1
    lr: float | None = None
    lr_alpha: float | None = None
    lr_base: float | None = None
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.1
    warmup: int | None = None
    grad_clip: float | None = None
    gamma: float | None = 0.9
    augment: Augment = "auto"
    hold_out: int | None = None
    precision: Precision = "auto"
    grad_checkpoint: bool = False
    ema: float | None = None
    seed: int = 0
    loaders: int | None = None
    cache_prefix: bool | None = None
    save_every: int = 500
    device: str | None = None

    def __post_init__(self) -> None:
        if (self.selection is None) == (self.tars is None):
            raise BadInput("customize on what? give either a selection or tars (--tars), one of the two")
        if self.batch_size < 2:
            raise BadInput(
                f"--batch-size {self.batch_size}: a contrastive loss compares the pairs of a batch; use 2 at least"
            )
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise BadInput(f"--accumulate {self.accumulate}: must divide the batch of {self.batch_size}")
        for name, value, least in (("epochs", self.epochs, 0.0), ("eps", self.eps, 0.0)):
            if value is not None and not value > least:
                raise BadInput(f"--{name} {value}: must be above 0")
        for name, count in (("steps", self.steps), ("save-every", self.save_every)):
            if count is not None and count < 1:
                raise BadInput(f"--{name} {count}: must be at least 1")
        self._check_rates()
        if self.warmup is not None and self.warmup < 0:
            raise BadInput(f"--warmup {self.warmup}: must be 0 or more")
        if self.gamma is not None and not -1 < self.gamma <= 1:
            raise BadInput(f"--gamma {self.gamma}: must be a cosine, above -1 and at most 1 (the thesis: 0.9)")
        if self.ema is not None and not 0 < self.ema < 1:
            raise BadInput(f"--ema {self.ema}: must be a decay between 0 and 1, such as 0.999")
        if self.hold_out is not None and self.hold_out < 0:
            raise BadInput(f"--hold-out {self.hold_out}: must be 0 or more")
        if self.augment not in ("auto", "released", "mild", "none"):
            raise BadInput(f"--augment {self.augment}: choose auto, released, mild or none")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise BadInput(f"--precision {self.precision}: choose auto, fp32 or bf16")
        if self.cache_prefix and self.augment in ("released", "mild"):
            raise BadInput("--cache-prefix: augmented images cannot be cached; add --augment none")

    def identity(self, model: ModelSpec, data: str) -> dict[str, Any]:
        """All that decides the trained weights, as plain JSON values; `data` is the hash of the pairs.

        `prepare_run` puts the number format that a device gets in place of precision "auto" before it asks for this.
        """
        choices = self.choices()
        for name in (*_NOT_IDENTITY, "store", "selection", "tars", "model"):
            del choices[name]
        for name in _NUMBERS:  # 32 and 32.0 are one choice; the command always gives floats
            choices[name] = None if choices[name] is None else float(choices[name])
        del choices["lr_alpha"], choices["lr_base"]
        if choices["hold_out"] is None:
            del choices["hold_out"]  # earlier versions had none; their pairs were gathered already
        rates = self.rates()
        # Rates that are `lr` were no choice of earlier versions.
        own = {f"lr_{name}": float(rate) for name, rate in rates.items() if rate != self.peak_lr()}
        return {**choices, **own, "betas": list(self.betas), "model": model_identity(model), "data": data}

    def as_before(self) -> CustomizeConfig | None:
        """What the same command meant to versions in which "released" was the default augmentation, and whose
        identities had precision "auto" as it stands; None where nothing has changed. Their runs can be continued.
        """
        if self.augment == "auto" and not self.cache_prefix:
            return replace(self, augment="released")
        return self if self.precision == "auto" else None

    def choices(self) -> dict[str, Any]:
        """All fields, by the names that identities and model cards have."""
        return {_WRITTEN.get(name, name): value for name, value in asdict(self).items()}

    def total_steps(self, pairs: int) -> int:
        """Number of steps over `pairs` pairs; an epoch skips the pairs that do not fill a batch.

        Raises BadInput when there are fewer pairs than a batch has.
        """
        if pairs < self.batch_size:
            raise BadInput(
                f"--batch-size {self.batch_size}: is more than the {pairs} pairs there are; use {max(2, pairs)} at most"
            )
        return self.steps or max(1, round(self.epochs * (pairs // self.batch_size)))

    def warmup_steps(self, total: int) -> int:
        """Number of steps, of `total`, over which the learning rate rises."""
        return self.warmup if self.warmup is not None else min(RELEASED_WARMUP, int(WARMUP_SHARE * total))

    def peak_lr(self) -> float:
        """The peak of `lr`: as given, or the released trainer's for this kind of strategy."""
        if self.lr is not None:
            return self.lr
        return GATED_LR if self._gated else DIRECT_LR

    def rates(self) -> dict[str, float]:
        """Peak learning rates by group of parameters, see `customize.clip.train.rates`.

        The groups are "gated", "alpha" and "base" for a gated strategy, and "base" alone for others.
        """
        peak = self.peak_lr()
        if not self._gated:
            return {"base": peak}
        base = min(peak, DIRECT_LR) if self.strategy == "gated-both" else peak
        return {
            "gated": peak,
            "alpha": peak if self.lr_alpha is None else self.lr_alpha,
            "base": base if self.lr_base is None else self.lr_base,
        }

    @property
    def _gated(self) -> bool:
        return "gated" in self.strategy

    def _check_rates(self) -> None:
        for name in ("lr", "lr_alpha", "lr_base"):
            rate = getattr(self, name)
            if rate is None:
                continue
            option = "--" + name.replace("_", "-")
            if not 0 <= rate < math.inf:
                raise BadInput(f"{option} {rate}: must be 0 or more")
            if name != "lr" and not self._gated:
                raise BadInput(f"{option}: strategy {self.strategy} adds no gated blocks, so --lr is the rate of all")
        if self.strategy != "none" and not any(self.rates().values()):
            raise BadInput(f"--lr {self.lr}: all learning rates are 0, so nothing would be learned; give one above 0")
