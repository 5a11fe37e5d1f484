"""The tuning strategies of the thesis's table 2.6: which weights of a CLIP model train.

    applied = apply_strategy(model, "locked-text-gated-image")
    applied.trainable                                    # {"gated_image": 42527244, "logit_scale": 1}

The temperature `logit_scale` trains in every strategy but none, as in REACT's released trainer; most rows of the table
leave it out. A locked text tower has its `text_projection` locked too. Knows no data and no optimizer.
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
    "parameter_group",
    "set_training",
    "trainable_parameters",
]

_MAX_LOGIT_SCALE = math.log(100)  # CLIP (arXiv 2103.00020), 2.5


@dataclass(frozen=True)
class Strategy:
    """One row of table 2.6."""

    name: str
    sentence: str
    gates_image: bool = False
    gates_text: bool = False
    image: bool = False  # the whole image tower trains
    text: bool = False  # the whole text tower trains, its projection included
    around_blocks: bool = False  # all but the original blocks trains: embeddings, outer norms, projections

    @property
    def gated(self) -> bool:
        """Whether the model grows."""
        return self.gates_image or self.gates_text

    @property
    def locks_text(self) -> bool:
        """Whether text embeddings never change, so that a store's can stand for the text tower."""
        return not (self.text or self.gates_text)

    @property
    def locks_image(self) -> bool:
        """Whether image embeddings never change: without augmentation a store's can stand for the image tower."""
        return not (self.image or self.gates_image or self.around_blocks)

    def trains(self, name: str) -> bool:
        """Whether the parameter `name` of an open_clip model, gated blocks included, trains."""
        group = parameter_group(name)
        if group == "logit_scale":
            return self.name != "none"
        if group == "gated_image":  # new ones, or those that a customized model brought: part of its tower
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
            Strategy("none", "nothing trains: the model as it is"),
            Strategy("locked-image", "the text tower trains, the image tower is locked (LiT)", text=True),
            Strategy("locked-text", "the image tower trains, the text tower is locked", image=True),
            Strategy("full", "both towers train", image=True, text=True),
            Strategy("gated-text", "new gated blocks in the text tower train, all else is locked", gates_text=True),
            Strategy(
                "locked-text-gated-image",
                "new gated blocks in the image tower train, all else is locked",
                gates_image=True,
            ),
            Strategy(
                "gated-both",
                "new gated blocks in both towers train, with all but the original blocks",
                gates_image=True,
                gates_text=True,
                around_blocks=True,
            ),
        )
    }
)


@dataclass(frozen=True)
class AppliedStrategy:
    """What `apply_strategy` made of a model.

    Attributes:
        image_gates: positions of the image tower's blocks with a gated one before them (0 is the first), new or not.
        text_gates: the text tower's.
        trainable: parameters that train, by group; see `trainable_parameters`.
        frozen_image_blocks: blocks from the first on whose output cannot change in training. With no augmentation
            their activations can be kept; 0 where the tower trains from its first weights on.
    """

    strategy: Strategy
    image_gates: tuple[int, ...]
    text_gates: tuple[int, ...]
    trainable: dict[str, int]
    frozen_image_blocks: int


def check_strategy(strategy: str) -> Strategy:
    """The strategy called so; BadInput lists them all when there is none."""
    try:
        return STRATEGIES[strategy]
    except KeyError:
        raise BadInput(f"unknown strategy {strategy!r}: choose {', '.join(STRATEGIES)}") from None


def apply_strategy(
    model: nn.Module, strategy: str, *, gated_blocks: int | None = None, seed: int = 0
) -> AppliedStrategy:
    """Insert the strategy's gated blocks into an open_clip model, in place, and set what trains.

    Args:
        model: a `CLIP`, `CustomTextCLIP` or `CoCa` of open_clip; also one with gated blocks, for a strategy that adds
            none: there they are part of their towers.
        strategy: a name of `STRATEGIES`.
        gated_blocks: how many blocks, counted from the last, get a gated block before them; unless told 6, and 12 of
            bigG (the thesis's), and all of them in a tower of fewer.
        seed: decides the gated blocks' initial weights, which the step-0 model does not depend on.

    Raises:
        BadInput: unknown strategy, a model whose architecture can't take it, one with gated blocks already that would
            get more, or more gated blocks asked for than there are blocks.
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
        raise BadInput(f"strategy {strategy} has no gated blocks; leave their number out")
    placed = [(tower, _last(tower, gated_blocks)) for tower in towers]  # refused before anything changes
    for offset, (tower, positions) in enumerate(placed):
        insert_gates(tower, positions, seed + offset)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen.trains(name))
    return describe_applied(model, chosen)


def describe_applied(model: nn.Module, strategy: Strategy) -> AppliedStrategy:
    """What a model looks like after `apply_strategy`, read from the model itself."""
    groups = {parameter_group(name) for name, _ in model.named_parameters()}
    image = gated_positions(image_tower(model)) if "gated_image" in groups else ()
    text = gated_positions(text_tower(model)) if "gated_text" in groups else ()
    if strategy.image or strategy.around_blocks:
        frozen = 0
    elif strategy.gates_image:
        frozen = image[0]
    else:  # the image tower as a whole
        frozen = len(image_tower(model).blocks) if _has_blocks(model) else 0
    return AppliedStrategy(strategy, image, text, trainable_parameters(model), frozen)


def trainable_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters that train by group, groups in which none trains left out.

    Groups: `visual` and `text` (the original towers, projections included), `gated_image` and `gated_text` (the new
    blocks), `logit_scale`. Their sum is what the optimizer sees; table 2.6 counts `logit_scale` only in its rows of
    the full model and of gated both.
    """
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = parameter_group(name)
            counts[group] = counts.get(group, 0) + parameter.numel()
    return counts


def parameter_group(name: str) -> str:
    """`visual`, `text`, `gated_image`, `gated_text`, `logit_scale`, or `unused`: what the contrastive loss can't reach.

    `unused` are the bias of sigmoid losses, which no softmax feels, and CoCa's caption decoder.
    """
    if name == "logit_scale":
        return "logit_scale"
    if name == "logit_bias" or name.startswith("text_decoder."):
        return "unused"
    if GATE in name.split("."):
        return "gated_image" if is_image_parameter(name) else "gated_text"
    return "visual" if is_image_parameter(name) else "text"


def set_training(model: nn.Module, strategy: Strategy) -> None:
    """Training mode for what trains as a whole, evaluation mode for what is locked.

    In place of `model.train()`: batch norm's running statistics in a locked ResNet would move, and patches would be
    dropped before frozen blocks whose activations are kept.
    """
    towers: Any = model
    model.train(strategy.text)
    towers.visual.train(strategy.image)
    for name, module in model.named_modules():
        if name.split(".")[-1] == GATE:
            module.train(strategy.trains(f"{name}.alpha_attn"))


def clamp_logit_scale(model: nn.Module) -> None:
    """Keep the temperature in [1, 100], which is `logit_scale` in [0, ln 100]; call after every optimizer step."""
    clip: Any = model
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
