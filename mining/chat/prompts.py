"""A chat request as tokens and prepared images, each request by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from index.corpus.image_decoding import ImageRejected, decode_image
from index.errors import BadInput
from mining.chat.chat import ChatReply, ChatRequest
from mining.chat.local_checkpoint import LocalCheckpoint
from mining.chat.rendering import render

__all__ = ["Prompt", "bucket", "prompt_of"]

_SHORTEST = 32  # tokens; shorter prompts are padded to it


@dataclass(frozen=True)
class Prompt:
    """ids: int64 [n]. inputs: what the processor made beside them (`pixel_values`). keys: a hash for each image.

    max_new_tokens: at most as many as the context leaves. length: n, padded: see `bucket`. answers: of each of the
    request's answers the ids of the tokens that say it, with or without a space; {} where one has no such token.
    """

    ids: torch.Tensor
    inputs: dict[str, Any]
    keys: tuple[str, ...]
    max_new_tokens: int
    temperature: float
    seed: int | None
    length: int
    answers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def bucket(tokens: int) -> int:
    """The length to which a prompt is padded: a power of two, or one and a half of one, at least 32.

    So a prompt's padded length depends on nothing but the prompt, and prompts of about its length share a batch.
    """
    length = _SHORTEST
    while length < tokens:
        half_more = length * 3 // 2
        if half_more >= tokens:
            return half_more
        length *= 2
    return length


def prompt_of(checkpoint: LocalCheckpoint, request: ChatRequest) -> Prompt | ChatReply:
    """The prompt of a request; a failed reply where its images cannot be read or its text exceeds the context."""
    shown = sum(len(turn.images) for turn in request.turns)
    if shown and not checkpoint.takes_images:
        return _failed(f"the model {checkpoint.name} takes no images, but the request shows {shown}")
    try:
        text = render(checkpoint.template, checkpoint.processor, request.turns, ask=True).text
        images = [_decoded(request, place) for turn in request.turns for place in turn.images]
    except BadInput as error:
        return _failed(str(error))
    # As processors do: their own templates leave the first token to the tokenizer, tokenizers' templates write it.
    bos = checkpoint.tokenizer.bos_token
    options: dict[str, Any] = {"add_special_tokens": checkpoint.takes_images and not (bos and text.startswith(bos))}
    if images:
        options["images"] = images
    made = checkpoint.processor(text=[text], return_tensors="pt", **options)
    ids = made.pop("input_ids")[0]
    made.pop("attention_mask", None)
    room = None if checkpoint.context is None else checkpoint.context - len(ids)
    if room is not None and room < 1:
        what = "text and images" if images else "text"
        return _failed(f"{what} of {len(ids):,} tokens exceeds the model's {checkpoint.context:,}")
    keys = tuple(hashlib.sha256(request.images[place]).hexdigest() for turn in request.turns for place in turn.images)
    new = request.max_new_tokens if room is None else min(request.max_new_tokens, room)
    answers = {text: _tokens_of(checkpoint.tokenizer, text) for text in request.answers}
    known = answers if all(answers.values()) else {}
    return Prompt(ids, dict(made), keys, new, request.temperature, request.seed, bucket(len(ids)), known)


def _tokens_of(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The tokens that say `text`; tokenizers may put a token for the beginning of a text before it."""
    last = {tokenizer(said, add_special_tokens=False)["input_ids"][-1] for said in (text, f" {text}")}
    return tuple(sorted(token for token in last if tokenizer.decode([token]).strip() == text))


def _decoded(request: ChatRequest, place: int) -> Any:
    try:
        return decode_image(request.images[place])
    except ImageRejected as error:
        raise BadInput(f"image {place + 1} cannot be read ({error.reason})") from error


def _failed(reason: str) -> ChatReply:
    return ChatReply("", "failed", error=reason)
