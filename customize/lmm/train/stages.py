"""The recipes of the training stages as data: what is trained, with which learning rates, batch and prompt.

    align      the projector alone, on images with captions: LLaVA (linear) and LLaVA-1.5 (MLP) stage 1
    instruct   the language model and the projector, on instructions: LLaVA-1.5 stage 2, by LoRA or in full
    cad        the same on instructions with comparisons of pairs among them: CaD-VI

Every number is the default of a run of that stage; a `TuneConfig` may replace each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from index.errors import BadInput

__all__ = ["STAGES", "TRAIN", "Recipe", "Train", "stage_recipe"]

Train = Literal["projector", "lora", "full"]
# What a run trains: the projector alone; it and LoRA adapters in the language model; or both as a whole.
TRAIN: tuple[Train, ...] = ("projector", "lora", "full")
LINEAR = "linear"  # the projector of the first LLaVA: one linear layer


@dataclass(frozen=True)
class Recipe:
    """The values of a stage.

    Attributes:
        source: where the numbers are from.
        train: what is trained, see TRAIN.
        template: the prompt's format, of `mining.chat.templates`; None: the checkpoint's own where it fits, else
            vicuna_v1, as in LLaVA-1.5 and CaD-VI.
        lr: peak learning rate of the language model's weights or adapters; of the projector where it trains alone.
        projector_lr: peak learning rate of the projector.
        batch_size: samples a step, over all workers.
        warmup: share of the steps in which the learning rate rises; then it falls to 0 along a cosine.
        max_length: most tokens of a sample, images included; longer samples are left out and counted.
        lora_rank, lora_alpha, lora_dropout: of the adapters in all linear layers of the language model.
        grad_clip: largest norm of the gradient.
        betas, eps, weight_decay: of AdamW.
    """

    source: str
    train: Train
    template: str | None
    lr: float
    projector_lr: float
    batch_size: int
    epochs: float = 1.0
    warmup: float = 0.03
    max_length: int = 2048
    lora_rank: int = 128
    lora_alpha: float = 256.0
    lora_dropout: float = 0.05
    weight_decay: float = 0.0
    # Those of transformers' TrainingArguments, which LLaVA's scripts leave as they are.
    grad_clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


_LLAVA = "LLaVA, stage 1 (arXiv:2304.08485, section 4.2; CC-595K)"
_ALIGN = "LLaVA-1.5, stage 1 (arXiv:2310.03744, table 9; scripts/v1_5/pretrain.sh; 558K)"
_INSTRUCT = "LLaVA-1.5, stage 2 (arXiv:2310.03744, table 9; scripts/v1_5/finetune.sh; 665K)"
_LORA = "LLaVA-1.5, stage 2 with LoRA (scripts/v1_5/finetune_lora.sh; 665K)"
_CAD = "CaD-VI (arXiv:2406.09240, implementation details; LLaVA-1.5's 665K with 278K and 71K pairs)"

_RECIPES: dict[tuple[str, Train], Recipe] = {
    ("align", "projector"): Recipe(_ALIGN, "projector", "plain", lr=1e-3, projector_lr=1e-3, batch_size=256),
    ("instruct", "lora"): Recipe(_LORA, "lora", None, lr=2e-4, projector_lr=2e-5, batch_size=128),
    ("instruct", "full"): Recipe(_INSTRUCT, "full", None, lr=2e-5, projector_lr=2e-5, batch_size=128),
    ("cad", "lora"): Recipe(_CAD, "lora", None, lr=1e-4, projector_lr=2e-5, batch_size=128),
}
_ALIGN_LINEAR = Recipe(_LLAVA, "projector", "plain", lr=2e-3, projector_lr=2e-3, batch_size=128)
# What each stage trains unless it is said.
STAGES: dict[str, Train] = {"align": "projector", "instruct": "lora", "cad": "lora"}


def stage_recipe(stage: str, train: Train | None = None, projector: str | None = None) -> Recipe:
    """The recipe of a stage.

    Args:
        train: what is trained; None: the stage's own. `cad` in full has LLaVA-1.5's learning rate of full training, as
            CaD-VI trains adapters only.
        projector: "linear" chooses the first LLaVA's values for `align`.

    Raises:
        BadInput: an unknown stage, or a stage that has no such recipe.
    """
    if stage not in STAGES:
        raise BadInput(f"--stage {stage}: choose {', '.join(STAGES)}")
    train = train or STAGES[stage]
    if stage == "align":
        if train != "projector":
            raise BadInput(f"--stage align trains the projector only; for {train} choose --stage instruct")
        return _ALIGN_LINEAR if projector == LINEAR else _RECIPES["align", "projector"]
    if train == "projector":
        raise BadInput(f"--stage {stage} trains the language model too; to train the projector, choose --stage align")
    return _RECIPES.get((stage, train)) or _RECIPES["instruct", train]
