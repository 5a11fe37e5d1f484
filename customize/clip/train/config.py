"""What decides a customized model: the data, the strategy, the recipe. Checked when it is made; loads nothing heavy.

The defaults are those of the REACT authors' released trainer (microsoft/react), as far as they do not depend on the
size of the data. Knows no models and no training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from index.encoder.model_spec import ModelSpec, model_identity
from index.errors import BadInput

__all__ = ["CustomizeConfig", "default_lr"]

Augment = Literal["released", "none"]
Precision = Literal["auto", "fp32", "bf16"]

GATED_LR = 5e-4  # the released trainer's, for gated blocks, which start from nothing
DIRECT_LR = 5e-5  # the released trainer's for locked-text, which moves weights that are good already
RELEASED_WARMUP = 5_000  # steps; the released trainer's
WARMUP_SHARE = 0.1  # of all steps, where the run is too short for the released warm-up; not compared with others

# What changes where and how fast a run goes, and not where it leads.
_NOT_IDENTITY = ("out", "device", "loaders", "save_every", "cache_prefix", "grad_checkpoint")


@dataclass(frozen=True)
class CustomizeConfig:
    """A run of `customize.clip.train.train.train`.

    Attributes:
        out: the model's folder; also holds the run's log and checkpoints.
        selection: a selection's folder; `store` says where its store is, if not where it was.
        tars: instead of a selection, tars or a folder of image-text pairs (an export, or any webdataset).
        model: the model to start from; by default the one that the selection's store was made with.
        strategy: a row of the thesis's table 2.6, see `customize.clip.strategies.STRATEGIES`.
        gated_blocks: gated blocks a gated tower gets, before its last blocks; None: the strategy's own number.
        epochs: passes over the pairs (released: 32); `steps`, where given, decides instead.
        batch: pairs a step, over all workers and accumulated parts (released: 4,096).
        accumulate: parts that a worker's share of the batch is computed in; the gradient is that of the whole.
        lr: of the peak; None: 5e-4 for gated strategies, 5e-5 for others.
        warmup: steps; None: 5,000, or a tenth of all steps where that is less.
        gamma: cosine of two texts from which they count as one (thesis: 0.9 for classification); None: plain CLIP.
        augment: "released" (see `customize.clip.train.augment`) or "none", the model's own validation transform.
        precision: of the arithmetic; weights stay fp32. "auto": bf16 on CUDA, else fp32.
        ema: decay of an exponential moving average of the trained weights, which is then what is saved.
        loaders: processes that decode images, a worker; None: by the cores.
        cache_prefix: keep what the frozen blocks below the first trained one make of an image (needs augment
            "none"); None: where that is possible and takes at most half of the free disk.
        save_every: steps between checkpoints.
        device: "cpu", "cuda", ...; None: the fastest that is there.
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
    batch: int = 256
    accumulate: int = 1
    lr: float | None = None
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.1
    warmup: int | None = None
    grad_clip: float | None = None
    gamma: float | None = 0.9
    augment: Augment = "released"
    precision: Precision = "auto"
    grad_checkpoint: bool = False
    ema: float | None = None
    seed: int = 0
    loaders: int | None = None
    cache_prefix: bool | None = None
    save_every: int = 500
    device: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)  # goes onto the model card; decides nothing

    def __post_init__(self) -> None:
        if (self.selection is None) == (self.tars is None):
            raise BadInput("customize on what? give either a selection or tars (--tars), one of the two")
        if self.batch < 2:
            raise BadInput(f"--batch-size {self.batch}: a contrastive loss compares the pairs of a batch; use 2 at least")
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise BadInput(f"--accumulate {self.accumulate}: must divide the batch of {self.batch}")
        for name, value, least in (("epochs", self.epochs, 0.0), ("lr", self.lr, 0.0), ("eps", self.eps, 0.0)):
            if value is not None and not value > least:
                raise BadInput(f"--{name} {value}: must be above 0")
        for name, count in (("steps", self.steps), ("save-every", self.save_every)):
            if count is not None and count < 1:
                raise BadInput(f"--{name} {count}: must be at least 1")
        if self.warmup is not None and self.warmup < 0:
            raise BadInput(f"--warmup {self.warmup}: must be 0 or more")
        if self.gamma is not None and not -1 < self.gamma <= 1:
            raise BadInput(f"--gamma {self.gamma}: is a cosine above -1 and at most 1 (the thesis: 0.9)")
        if self.ema is not None and not 0 < self.ema < 1:
            raise BadInput(f"--ema {self.ema}: is a decay between 0 and 1, such as 0.999")
        if self.augment not in ("released", "none"):
            raise BadInput(f"--augment {self.augment}: choose released or none")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise BadInput(f"--precision {self.precision}: choose auto, fp32 or bf16")
        if self.cache_prefix and self.augment != "none":
            raise BadInput("--cache-prefix: what augmentation changes cannot be cached; use --augment none with it")

    def identity(self, model: ModelSpec, data: str) -> dict[str, Any]:
        """All that decides the trained weights, as plain JSON; `data` is the hash of the pairs."""
        plain = {name: value for name, value in asdict(self).items() if name not in _NOT_IDENTITY}
        for place in ("store", "selection", "tars", "extra", "model"):
            del plain[place]
        return {**plain, "betas": list(self.betas), "model": model_identity(model), "data": data}

    def total_steps(self, pairs: int) -> int:
        """Steps of the run over `pairs` pairs; an epoch leaves out what does not fill a batch.

        Raises BadInput when there are fewer pairs than one batch takes.
        """
        if pairs < self.batch:
            raise BadInput(
                f"--batch-size {self.batch}: is more than the {pairs} pairs there are; use {max(2, pairs)} at most"
            )
        return self.steps or max(1, round(self.epochs * (pairs // self.batch)))

    def warmup_steps(self, total: int) -> int:
        """Steps over which the learning rate rises."""
        return self.warmup if self.warmup is not None else min(RELEASED_WARMUP, int(WARMUP_SHARE * total))

    def peak_lr(self) -> float:
        return self.lr if self.lr is not None else default_lr(self.strategy)


def default_lr(strategy: str) -> float:
    """The released trainer's learning rate for a strategy's kind."""
    return GATED_LR if "gated" in strategy else DIRECT_LR
