"""How much memory and time a tuning run takes, by formulae, before anything is loaded.

Weights, gradients and moments: AdamW in mixed precision keeps 4 + 4 + 8 bytes a trained weight (ZeRO, arXiv 1910.02054,
section 3.1), and autocast 2 more for its bfloat16 copy; frozen weights are 2 bytes. With `sharded` all of them are
divided by the GPUs, as in that paper's stage 3.

Activations, in bytes a token and layer of a Llama with hidden width h, MLP width f, share s of key and value heads and
w bytes a number (2 or 4), counted as arXiv 2205.05198 does for GPT:
- attention and MLP: w (2h + 2hs + 3f) + 8h
- LoRA of rank r, the inputs of linear layers: w (2h + f) + 7wr; w (6h + f) + 7wr where trained weights are float32 and
  the rest is bfloat16, since peft then copies each input; and 6h + f for masks of dropout
- full training: w (4h + f), and 10h more where weights are float32 and the rest is bfloat16
With gradient checkpointing a layer keeps its input alone, and one layer at a time has the rest.
`tests/customize/lmm/model/test_plan.py` compares this with what torch keeps.

Operations: 2 a weight and token forward, as many backward for the activations, as many again for trained weights, and
once more forward with checkpointing (arXiv 2001.08361, section 2.1, and 2205.05198, appendix A); 2 n^2 h a layer for
causal attention over n tokens, and twice that backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from customize.lmm.model.shape import ModelShape
from customize.lmm.model.trainable import TrainedParts
from index.errors import BadInput

__all__ = [
    "GPUS",
    "Hardware",
    "Plan",
    "Workload",
    "activation_bytes",
    "flops_per_sample",
    "plan_tuning",
    "trained_weights",
]

GB = 10**9
# Memory in GB, and operations a second in dense bfloat16, as NVIDIA's data sheets have them.
GPUS: Mapping[str, tuple[float, float]] = {
    "RTX-4090": (24, 165e12),
    "L40S": (48, 362e12),
    "A100-40GB": (40, 312e12),
    "A100-80GB": (80, 312e12),
    "H100": (80, 989e12),
    "H200": (141, 989e12),
}
# A step of a trained token's logits: in bfloat16 and float32, their log-softmax, and both gradients.
_LOGIT_BYTES = 2 + 4 + 4 + 4 + 2
_LORA_LINEARS = 7  # of a Llama layer: q, k, v, o, gate, up, down


@dataclass(frozen=True)
class Hardware:
    """GPUs of one kind. memory: bytes each. peak: operations a second each.

    utilisation: the share of `peak` that a run reaches; 0.35 is an assumption, near what 20 hours of LLaVA-1.5 13B on 8
    A100 come to (arXiv 2310.03744, section 3.3). reserved: bytes of a GPU that CUDA and fragments take.
    """

    gpus: int
    memory: float
    peak: float
    utilisation: float = 0.35
    reserved: float = 2 * GB

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.memory <= 0 or self.peak <= 0 or not 0 < self.utilisation <= 1:
            raise BadInput(
                "a plan needs at least one GPU, with memory and speed, and a utilisation above 0 and up to 1"
            )

    @classmethod
    def named(cls, name: str, gpus: int) -> Hardware:
        """GPUs by a name of `GPUS`; BadInput for another."""
        if name not in GPUS:
            raise BadInput(f"GPU {name!r:.40}: choose {', '.join(GPUS)}")
        memory, peak = GPUS[name]
        return cls(gpus, memory * GB, peak)


@dataclass(frozen=True)
class Workload:
    """What is trained on.

    Attributes:
        samples, epochs: passes over so many samples.
        tokens: mean length, image tokens included; images: mean number a sample.
        part_tokens: tokens that a GPU computes at once, at most.
        trained_share: of a sample's tokens, those with a loss.
        cached_images: different images, where the tower's features are cached; None: it runs at each step.
    """

    samples: int
    tokens: float
    images: float
    epochs: float = 1.0
    part_tokens: int = 8192
    trained_share: float = 0.3
    cached_images: int | None = None

    def __post_init__(self) -> None:
        least = (self.samples, self.tokens, self.images, self.epochs, self.part_tokens, self.trained_share)
        if min(least) < 0 or self.trained_share > 1:
            raise BadInput("a plan's samples, tokens, images, epochs and shares are not negative, and shares at most 1")


@dataclass(frozen=True)
class Plan:
    """What a run takes.

    Attributes:
        memory: bytes a GPU, by what they are for; reserved ones included.
        available: bytes that a GPU has.
        trained: number of trained weights.
        flops_per_sample: operations.
        hours: of all GPUs together at work on the steps; without loading, evaluation and export.
        cache_bytes: disk for cached features in float16.
    """

    memory: Mapping[str, float]
    available: float
    trained: int
    flops_per_sample: float
    hours: float
    cache_bytes: int

    @property
    def total(self) -> float:
        """Bytes a GPU."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether a GPU has that much."""
        return self.total <= self.available


def plan_tuning(
    shape: ModelShape, parts: TrainedParts, work: Workload, hardware: Hardware, *, sharded: bool = False
) -> Plan:
    """Memory and hours of a run; see the module for the formulae.

    sharded: whether the GPUs share the weights out among them (FSDP) instead of each holding all.
    """
    trained = trained_weights(shape, parts)
    base = shape.tower + shape.projector + shape.language_model
    frozen = base - (trained if parts.language_model == "full" else shape.projector if parts.projector else 0)
    number = 4 if parts.precision == "float32" else 2
    master = 2 if parts.precision == "pure-bfloat16" else 4
    among = hardware.gpus if sharded else 1
    copies = trained * 2 if parts.precision == "bfloat16" else 0
    layer = activation_bytes(shape, parts)
    kept = number * shape.hidden * (2 if parts.language_model == "full" and parts.precision == "bfloat16" else 1)
    checkpointed = shape.layers * kept + layer
    tokens = work.part_tokens
    memory = {
        "frozen weights": frozen * number / among,
        "trained weights": (trained * master + copies) / among,
        "gradients": trained * master / among,
        "AdamW's moments": 2 * trained * master / among,
        "activations": tokens * (checkpointed if parts.gradient_checkpointing else shape.layers * layer),
        "logits": tokens * work.trained_share * shape.vocabulary * _LOGIT_BYTES,
        "reserved": hardware.reserved,
    }
    if sharded:  # one layer's weights are whole at a time, and the next one's are being gathered
        memory["gathered layers"] = 2 * number * (shape.language_model - shape.embeddings) / shape.layers
    flops = flops_per_sample(shape, parts, work)
    total = work.samples * work.epochs * flops
    cached = 0
    if work.cached_images is not None:
        total += work.cached_images * _tower_flops(shape)
        cached = 2 * work.cached_images * shape.image_tokens * shape.tower_width
    seconds = total / (hardware.gpus * hardware.peak * hardware.utilisation)
    return Plan(memory, hardware.memory, trained, flops, seconds / 3600, cached)


def trained_weights(shape: ModelShape, parts: TrainedParts) -> int:
    """Number of trained weights."""
    language = {"frozen": 0, "lora": parts.lora_r * shape.lora_widths, "full": shape.language_model}
    return language[parts.language_model] + (shape.projector if parts.projector else 0)


def activation_bytes(shape: ModelShape, parts: TrainedParts) -> float:
    """Bytes a token that one layer of the language model keeps for the backward pass, without checkpointing."""
    h, f, s = shape.hidden, shape.intermediate, shape.key_value_share
    w = 4 if parts.precision == "float32" else 2
    mixed = parts.precision == "bfloat16"
    kept = w * (2 * h + 2 * h * s + 3 * f) + 8 * h
    if parts.language_model == "lora":
        kept += w * ((6 if mixed else 2) * h + f) + _LORA_LINEARS * w * parts.lora_r
        if parts.lora_dropout:
            kept += 6 * h + f
    elif parts.language_model == "full":
        kept += w * (4 * h + f) + (10 * h if mixed else 0)
    return kept


def flops_per_sample(shape: ModelShape, parts: TrainedParts, work: Workload) -> float:
    """Operations of one step on one sample of mean length, without the tower where its features are cached."""
    n, again = work.tokens, 1 if parts.gradient_checkpointing else 0
    # The output layer is computed for trained tokens only.
    output = shape.vocabulary * shape.hidden
    products = n * (shape.language_model - shape.embeddings - output)
    passes = 2 + again + (1 if parts.language_model == "full" else 0)
    flops = 2 * products * passes + 2 * n * work.trained_share * output * (passes - again)
    flops += 2 * n * n * shape.hidden * shape.layers * (3 + again)
    if parts.language_model == "lora":
        flops += 2 * n * parts.lora_r * shape.lora_widths * (3 + again)
    flops += work.images * shape.image_tokens * 2 * shape.projector * (3 if parts.projector else 1)
    return flops + (0 if work.cached_images is not None else work.images * _tower_flops(shape))


def _tower_flops(shape: ModelShape) -> float:
    return 2.0 * shape.tower * shape.tower_tokens
