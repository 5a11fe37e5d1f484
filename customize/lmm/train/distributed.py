"""Sums of gradients over the workers of a run. Each worker computes a part of every batch.

A step's loss is the weighted sum over all trained tokens of the global batch, divided by the sum of their weights. Each
worker divides its own sum by the global one, so adding the workers' gradients gives that of the whole batch, however
its samples are shared out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist

__all__ = ["largest", "sum_gradients", "sum_values"]

BUCKET = 64 << 20  # elements that are summed in one call: 256 MB in fp32


def sum_values(tensor: torch.Tensor, workers: int) -> torch.Tensor:
    """The sum of `tensor` over the workers, in place. A collective: all workers must call it together."""
    if workers > 1:
        dist.all_reduce(tensor)
    return tensor


def largest(value: int, workers: int, device: str) -> int:
    """The largest `value` of all workers. A collective."""
    if workers == 1:
        return value
    found = torch.tensor([value], device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found[0])


def sum_gradients(parameters: Iterable[torch.nn.Parameter], workers: int, bucket: int = BUCKET) -> None:
    """Replace the gradients by their sums over the workers. A collective.

    A parameter without a gradient gets one of zeros, alone as among several workers: whether a batch happens to have
    images must not decide if the optimizer's moments decay.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    if workers == 1:
        return
    for some in _buckets(gradients, bucket):
        flat = torch.cat([gradient.flatten() for gradient in some])
        dist.all_reduce(flat)
        start = 0
        for gradient in some:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()


def _buckets(tensors: Sequence[torch.Tensor], size: int) -> Iterator[list[torch.Tensor]]:
    """Consecutive tensors of one dtype with at most `size` elements together, at least one each."""
    some: list[torch.Tensor] = []
    for tensor in tensors:
        full = some and sum(one.numel() for one in some) + tensor.numel() > size
        if some and (full or tensor.dtype != some[0].dtype):
            yield some
            some = []
        some.append(tensor)
    if some:
        yield some
