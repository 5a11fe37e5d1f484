"""The training strategies of the thesis's table 2.6: which weights of a CLIP model are trained.

    applied = apply_strategy(model, "locked-text-gated-image")
    applied.trainable                                    # {"gated_image": 42527244, "logit_scale": 1}

The temperature `logit_scale` is trained in every strategy except `none`, as in REACT's released trainer; most rows of
the table do not count it. In a locked text tower `text_projection` is locked too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from customize.clip.gated import GATE, default_gated_blocks, gated_positions, insert_gates, is_gated
from customize.clip.towers import Tower, image_tower, is_image_parameter, text_tower
from index.errors import BadInput

__all__ = [
    "STRATEGIES",
    "AppliedStrategy",
    "Strategy",
    "apply_strategy",
    "check_strategy",
    "clamp_logit_scale",
    "describe_applied",
    "has_sigmoid_loss",
    "parameter_group",
    "set_training",
    "trainable_parameters",
]

_MAX_LOGIT_SCALE = math.log(100)  # CLIP (arXiv 2103.00020), 2.5


@dataclass(frozen=True)
class Strategy:
    """One row of table 2.6.

    Attributes:
        gates_image, gates_text: insert gated blocks into this tower and train them.
        image, text: train the whole tower, its projection included.
        around_blocks: train all weights except the original blocks: embeddings, outer norms, projections.
    """

    name: str
    gates_image: bool = False
    gates_text: bool = False
    image: bool = False
    text: bool = False
    around_blocks: bool = False

    @property
    def gated(self) -> bool:
        """Whether the strategy inserts gated blocks."""
        return self.gates_image or self.gates_text

    @property
    def locks_text(self) -> bool:
        """Whether text embeddings do not change in training, so that a store's can replace the text tower."""
        return not (self.text or self.gates_text)

    @property
    def locks_image(self) -> bool:
        """Whether image embeddings do not change in training, so that a store's can replace the image tower."""
        return not (self.image or self.gates_image or self.around_blocks)

    def trains(self, name: str) -> bool:
        """Whether the strategy trains the parameter `name` of an open_clip model, with or without gated blocks."""
        group = parameter_group(name)
        if group in ("logit_scale", "logit_bias"):
            return self.name != "none"
        if group == "gated_image":  # new blocks, or those of a customized model, which are part of its tower
            return self.gates_image or self.image
        if group == "gated_text":
            return self.gates_text or self.text
        if group == "visual":
            return self.image or (self.around_blocks and not _in_a_block(name))
        if group == "text":
            return self.text or (self.around_blocks and not _in_a_block(name))
        return False


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (
            Strategy("none"),
            Strategy("locked-image", text=True),  # LiT (arXiv 2111.07991)
            Strategy("locked-text", image=True),
            Strategy("full", image=True, text=True),
            Strategy("gated-text", gates_text=True),
            Strategy("locked-text-gated-image", gates_image=True),
            Strategy("gated-both", gates_image=True, gates_text=True, around_blocks=True),
        )
    }
)


@dataclass(frozen=True)
class AppliedStrategy:
    """A model after `apply_strategy`.

    Attributes:
        image_gates: positions of the image tower's blocks with a gated block before them (0 is the first), new or not.
        text_gates: the same in the text tower.
        trainable: number of trained parameters by group, see `trainable_parameters`.
        frozen_image_blocks: number of the image tower's first blocks whose output does not change in training, so that
            it can be cached; 0 where weights below the first block are trained.
    """

    strategy: Strategy
    image_gates: tuple[int, ...]
    text_gates: tuple[int, ...]
    trainable: dict[str, int]
    frozen_image_blocks: int


def check_strategy(strategy: str) -> Strategy:
    """The strategy of that name; BadInput for an unknown name lists all strategies."""
    try:
        return STRATEGIES[strategy]
    except KeyError:
        raise BadInput(f"unknown strategy {strategy!r}: choose {', '.join(STRATEGIES)}") from None


def apply_strategy(
    model: nn.Module, strategy: str, *, gated_blocks: int | None = None, seed: int = 0
) -> AppliedStrategy:
    """Insert the strategy's gated blocks into an open_clip model, in place, and set which parameters need gradients.

    Args:
        model: a `CLIP`, `CustomTextCLIP` or `CoCa` of open_clip. It may have gated blocks when the strategy adds none:
            they are then part of their towers.
        strategy: a name of `STRATEGIES`.
        gated_blocks: how many of the last blocks get a gated block; None: `gated.default_gated_blocks`.
        seed: decides the new weights. The outputs do not depend on them until the gates open.

    Raises:
        BadInput: unknown strategy, one that does not fit the model's architecture, one that adds gated blocks to a
            model that has some, or more gated blocks than the tower has blocks.
    """
    chosen = check_strategy(strategy)
    towers = [
        tower(model) for tower, gates in ((image_tower, chosen.gates_image), (text_tower, chosen.gates_text)) if gates
    ]
    if chosen.gated and is_gated(model):
        raise BadInput(
            f"strategy {strategy} adds gated blocks, which the model has already: customize the model that it came "
            "from, or choose a strategy without new blocks (locked-image, locked-text, full)"
        )
    if gated_blocks is not None and not chosen.gated:
        raise BadInput(f"strategy {strategy} has no gated blocks; leave out --gated-blocks")
    placed = [(tower, _last(tower, gated_blocks)) for tower in towers]  # raises before anything changes
    for offset, (tower, positions) in enumerate(placed):
        insert_gates(tower, positions, seed + offset)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen.trains(name))
    return describe_applied(model, chosen)


def describe_applied(model: nn.Module, strategy: Strategy) -> AppliedStrategy:
    """Describe a model to which `strategy` was applied, by looking at its modules and parameters."""
    groups = {parameter_group(name) for name, _ in model.named_parameters()}
    image = gated_positions(image_tower(model)) if "gated_image" in groups else ()
    text = gated_positions(text_tower(model)) if "gated_text" in groups else ()
    if strategy.image or strategy.around_blocks:
        frozen = 0
    elif strategy.gates_image:
        frozen = image[0]
    else:  # the whole image tower is locked
        frozen = len(image_tower(model).blocks) if _has_blocks(model) else 0
    return AppliedStrategy(strategy, image, text, trainable_parameters(model), frozen)


def trainable_parameters(model: nn.Module) -> dict[str, int]:
    """Number of trained parameters by group, without groups that are not trained.

    The groups are those of `parameter_group`. Table 2.6 counts `logit_scale` only in its rows of the full model and of
    gated both.
    """
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = parameter_group(name)
            counts[group] = counts.get(group, 0) + parameter.numel()
    return counts


def parameter_group(name: str) -> str:
    """The group of a parameter: `visual` or `text` (the original towers with their projections), `gated_image` or
    `gated_text` (gated blocks), `logit_scale`, `logit_bias` (of models with a sigmoid loss), or `unused`.

    `unused` parameters have no gradient from the losses here: CoCa's caption decoder.
    """
    if name in ("logit_scale", "logit_bias"):
        return name
    if name.startswith("text_decoder."):
        return "unused"
    if GATE in name.split("."):
        return "gated_image" if is_image_parameter(name) else "gated_text"
    return "visual" if is_image_parameter(name) else "text"


def set_training(model: nn.Module, strategy: Strategy) -> None:
    """Put towers that are trained as a whole, and trained gated blocks, into train mode, and the rest into eval mode.

    Use it in place of `model.train()`, which would change the running statistics of batch norms in a locked ResNet and
    drop patches before frozen blocks whose output is cached.
    """
    towers: Any = model
    model.train(strategy.text)
    towers.visual.train(strategy.image)
    for name, module in model.named_modules():
        if name.split(".")[-1] == GATE:
            module.train(strategy.trains(f"{name}.alpha_attn"))


def has_sigmoid_loss(model: nn.Module) -> bool:
    """Whether the model is of SigLIP's kind: its logits have a bias, which only a sigmoid loss uses."""
    return model.logit_bias is not None


def clamp_logit_scale(model: nn.Module) -> None:
    """Clamp `logit_scale` to [0, ln 100], a factor of 1 to 100; call it after each optimizer step.

    Models with a sigmoid loss are left alone: SigLIP's own factor is above 100.
    """
    clip: Any = model
    if has_sigmoid_loss(model):
        return
    with torch.no_grad():
        clip.logit_scale.clamp_(0, _MAX_LOGIT_SCALE)


def _last(tower: Tower, count: int | None) -> range:
    depth = len(tower.blocks)
    if count is None:
        count = default_gated_blocks(tower)
    if not 1 <= count <= depth:
        raise BadInput(f"{count} gated blocks: the tower has {depth} blocks, so choose 1 to {depth}")
    return range(depth - count, depth)


def _in_a_block(name: str) -> bool:
    return ".resblocks." in name or ".blocks." in name


def _has_blocks(model: nn.Module) -> bool:
    try:
        image_tower(model)
    except BadInput:
        return False
    return True
