"""Tokens that a multimodal model needs beside those of its language model: the image's place, and padding."""

from __future__ import annotations

from typing import Any

import torch

from mining.sets.annotation import IMAGE

__all__ = ["PAD", "add_tokens"]

PAD = "<pad>"


def add_tokens(tokenizer: Any, model: Any) -> int:
    """Give tokenizer and causal language model an image token, and a padding token where they have none.

    A new token starts as the mean of all embeddings before it, in the input and the output layer.

    Returns: the image token's id.
    """
    from transformers import AddedToken

    vocabulary = tokenizer.get_vocab()
    needed = [IMAGE] if tokenizer.pad_token is not None else [IMAGE, PAD]
    new = [token for token in needed if token not in vocabulary]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in new], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = PAD
    rows = int(model.get_input_embeddings().weight.shape[0])
    # The language model may also lack rows for tokens that its tokenizer has.
    ids = sorted({*(int(tokenizer.convert_tokens_to_ids(token)) for token in new), *range(rows, len(tokenizer))})
    if ids:
        _embed_new(model, ids, rows)
    return int(tokenizer.convert_tokens_to_ids(IMAGE))


@torch.no_grad()
def _embed_new(model: Any, ids: list[int], rows: int) -> None:
    old = min(rows, min(ids))
    if max(ids) >= rows:
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    weights = {id(layer.weight): layer.weight for layer in _embeddings(model)}  # one where they are tied
    for weight in weights.values():
        # In float64 and from values rounded to bfloat16, so that runs of both precisions begin with the same rows.
        mean = weight[:old].to(torch.bfloat16).double().mean(0)
        weight[ids] = mean.to(torch.bfloat16).to(weight.dtype)


def _embeddings(model: Any) -> list[Any]:
    return [layer for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None]
