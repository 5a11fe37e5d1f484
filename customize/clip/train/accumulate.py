"""Which models can compute a batch in parts (`--accumulate`): those whose features do not depend on the part.

Each part is computed twice (`customize.clip.train.step`). A batch norm in train mode would use the part's statistics in
place of the batch's and count each part twice; random layers would drop other patches the second time, so the gradients
would belong to other features than the loss.
"""

from __future__ import annotations

from torch import Tensor, nn

from index.errors import BadInput

__all__ = ["check_accumulate", "running_statistics"]

# The drop rate of a random layer, by the names that torch, timm and open_clip have for it.
_RATES = ("p", "prob", "drop_prob")


def check_accumulate(model: nn.Module, parts: int) -> None:
    """Raise BadInput where a model in training mode cannot compute a batch in several parts.

    Call it after `customize.clip.strategies.set_training`: locked towers are in evaluation mode and never refused.
    """
    if parts == 1:
        return
    for name, module in model.named_modules():
        if not module.training:
            continue
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            why = "normalises by the statistics of the images that it computes at once"
        elif _drops(module):
            why = "drops other values each time that a part is computed"
        else:
            continue
        raise BadInput(
            f"--accumulate {parts}: {name} of the model ({type(module).__name__}) {why}, so parts do not give the "
            "gradient of the whole batch; leave it out and take a smaller --batch-size, or --grad-checkpoint"
        )


def running_statistics(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that training changes, by name: the running statistics of batch norms in train mode."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if module.training and isinstance(module, nn.modules.batchnorm._BatchNorm):
            found |= {f"{name}.{own}": buffer for own, buffer in module.named_buffers(recurse=False)}
    return found


def _drops(module: nn.Module) -> bool:
    if "Drop" not in type(module).__name__:
        return False
    rates = [getattr(module, name) for name in _RATES if isinstance(getattr(module, name, None), float | int)]
    return any(rate > 0 for rate in rates)
