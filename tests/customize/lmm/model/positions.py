"""Position ids of packed samples, for the tests of forward passes and steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def restarting_positions(lengths: Sequence[int]) -> torch.Tensor:
    """int64 [1, sum of lengths]: the positions of samples in one row, 0, 1, ..., 0, 1, ..."""
    return torch.cat([torch.arange(length) for length in lengths]).unsqueeze(0)
