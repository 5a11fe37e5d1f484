"""Hashes of weights: equal for equal values, in whatever files, and loaded in whatever dtype."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import torch

from index.files import hash_json

__all__ = ["weights_sha256"]


def weights_sha256(module: torch.nn.Module) -> str:
    """Hex SHA-256 over the names, shapes and values of a module's weights, each rounded to bfloat16.

    Rounding makes the hash of a checkpoint the same for a run in float32 and one in bfloat16.
    """
    state = sorted(module.state_dict().items())
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="hash") as threads:
        digests = threads.map(_tensor_sha256, (tensor for _, tensor in state))
        parts = [[name, list(tensor.shape), digest] for (name, tensor), digest in zip(state, digests, strict=True)]
    return hash_json(parts)


def _tensor_sha256(tensor: torch.Tensor) -> str:
    plain = tensor.detach()
    if plain.is_floating_point():
        plain = plain.to(torch.bfloat16)
    values: Any = plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return sha256(values).hexdigest()
