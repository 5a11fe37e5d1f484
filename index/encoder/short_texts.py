"""Short texts through a CLIP text tower without computing their padding.

A prompt of 8 tokens in a context of 77 is nine tenths padding, which the causal mask keeps from ever reaching the
end-of-text token whose feature is taken. Texts are grouped by length, rounded up to a multiple of `STEP`, so that a
few long ones don't pad all others. Knows no stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["STEP", "can_shorten", "groups_by_length", "short_text_features"]

STEP = 8  # tokens; the matrix kernels work in multiples of it anyway


def can_shorten(model: Any) -> bool:
    """Whether tokens after the end mark cannot change a text's feature: open_clip's `CLIP` with a causal text tower."""
    from open_clip.model import CLIP

    return type(model) is CLIP and model.attn_mask is not None and model.text_pool_type in ("argmax", "eos")


def groups_by_length(
    model: Any, ids: torch.Tensor, batch_size: int
) -> Iterator[tuple[npt.NDArray[np.int64], torch.Tensor]]:
    """Yield `(places, ids[places] cut to their length)` in batches of like length; ids: int64 [n, context]."""
    ends = ids == model.text_eos_id if model.text_pool_type == "eos" else ids == ids.max(dim=1, keepdim=True).values
    lengths = ends.int().argmax(dim=1).numpy() + 1
    lengths = np.minimum(-(-lengths // STEP) * STEP, ids.shape[1])
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        for start in range(0, len(places), batch_size):
            some = places[start : start + batch_size]
            yield some, ids[torch.from_numpy(some), : int(length)]


def short_text_features(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """`CLIP.encode_text` of ids int64 [n, t] that were cut behind the end mark, t at most the context: [n, d]."""
    from open_clip.transformer import text_global_pool

    length = ids.shape[1]
    dtype = model.transformer.get_cast_dtype()
    hidden = model.token_embedding(ids).to(dtype) + model.positional_embedding[:length].to(dtype)
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    end = getattr(model, "text_eos_id", None)
    pooled: torch.Tensor = text_global_pool(hidden, ids, model.text_pool_type, eos_token_id=end)
    if model.text_projection is None:
        return pooled
    linear = isinstance(model.text_projection, torch.nn.Linear)
    features: torch.Tensor = model.text_projection(pooled) if linear else pooled @ model.text_projection
    return features
