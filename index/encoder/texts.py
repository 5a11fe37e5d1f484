"""Texts on their way into a CLIP text tower: tokens, whether the context cut a text, and batches of one length.

The tokens are open_clip's own. open_clip cuts a long text silently; here every text comes with whether it was cut.

Short texts are encoded without most of their padding. A prompt of 8 tokens in a context of 77 is nine tenths padding,
and the causal mask keeps padding from reaching the end-of-text token whose feature is taken. Texts are grouped by
length, rounded up to a multiple of `STEP`.

A matrix product's last bits depend on its shape: in batches of varying size a text's vector depends on which other
texts are encoded with it. Where it may not, each batch is filled up to one number of rows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from index.files import hash_json

__all__ = ["STEP", "Tokenizer", "Tokens", "can_shorten", "short_text_features", "text_batches"]

STEP = 8  # tokens; matrix kernels work in multiples of it
# open_clip's tokenizer remembers every word it has met; in a web corpus that grows without end.
_REMEMBERED_WORDS = 200_000
# Byte-pair merging is quadratic in a word's length. No entry of CLIP's vocabulary is longer than 64 bytes, so 77 tokens
# reach no farther than 4,928; alt texts hold base64 "words" of megabytes.
_LONGEST_WORD = 5_000


@dataclass(frozen=True)
class Tokens:
    """`ids` int64 [n, context_length]; `cut` bool [n], whether the text was longer than that."""

    ids: torch.Tensor
    cut: list[bool]


class Tokenizer:
    """One of open_clip's tokenizers, safe for threads."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.context_length = context_length
        self._tokenizer = tokenizer
        # CLIP's own byte-pair tokenizer. With a reduction mask it draws tokens instead of cutting: left to open_clip.
        self._is_simple = type(tokenizer).__name__ == "SimpleTokenizer" and tokenizer.reduction_fn is None
        self._lock = threading.Lock()  # Hugging Face's fast tokenizers fail when two threads use one

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenize `texts`, as open_clip would."""
        if not self._is_simple:
            return self._with_open_clip(list(texts))
        ids = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        cut = []
        for row, text in enumerate(texts):
            found = self._encode(text)
            cut.append(len(found) > self.context_length)
            if cut[-1]:
                found = [*found[: self.context_length - 1], self._tokenizer.eot_token_id]
            ids[row, : len(found)] = torch.tensor(found)
        return Tokens(ids, cut)

    def describe(self) -> dict[str, Any]:
        """What of it decides the tokens, for a model's fingerprint."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        vocabulary = inner.get_vocab() if inner is not None else self._tokenizer.encoder
        clean = getattr(getattr(self._tokenizer, "clean_fn", None), "__name__", None)
        return {
            "class": type(self._tokenizer).__name__,
            "clean": clean,
            "context_length": self.context_length,
            "vocabulary": hash_json(vocabulary),
        }

    def _encode(self, text: str) -> list[int]:
        """`SimpleTokenizer.encode` with its end marks, stopped as soon as the context is overfull."""
        inner = self._tokenizer
        if len(inner.cache) > _REMEMBERED_WORDS:
            inner.cache = {mark: mark for mark in ("<start_of_text>", "<end_of_text>")}
        found = [inner.sot_token_id]
        for match in inner.pat.finditer(inner.clean_fn(text)):
            word = "".join(inner.byte_encoder[byte] for byte in match.group()[:_LONGEST_WORD].encode("utf-8"))
            found.extend(inner.encoder[piece] for piece in inner.bpe(word).split(" "))
            if len(found) > self.context_length:
                break
        return [*found, inner.eot_token_id]

    def _with_open_clip(self, texts: list[str]) -> Tokens:
        if not texts:
            return Tokens(torch.zeros(0, self.context_length, dtype=torch.long), [])
        inner = self._tokenizer.tokenizer
        with self._lock:
            # With one place more, a text that fits gains padding only.
            longer = self._tokenizer(texts, context_length=self.context_length + 1)
            if getattr(self._tokenizer, "tokenizer_mode", "") == "clips":  # the class token comes last there
                ids = self._tokenizer(texts, context_length=self.context_length)
                return Tokens(ids, (longer[:, -2] != inner.pad_token_id).tolist())
            overfull = longer[:, -1] != inner.pad_token_id
            if inner.pad_token_id != inner.eos_token_id and inner.padding_side == "right" and not overfull.any():
                return Tokens(longer[:, :-1].contiguous(), overfull.tolist())
            # SigLIP pads with its end mark, so what one place too many holds may be either.
            ids = self._tokenizer(texts, context_length=self.context_length)
        fits = (longer[:, :-1] == ids).all(dim=1) & ~overfull
        return Tokens(ids, (~fits).tolist())


def can_shorten(model: Any) -> bool:
    """Whether tokens after the end mark cannot change a text's feature: open_clip's `CLIP` with a causal text tower."""
    from open_clip.model import CLIP

    return type(model) is CLIP and model.attn_mask is not None and model.text_pool_type in ("argmax", "eos")


def text_batches(
    model: Any, ids: torch.Tensor, rows: int, fill: bool
) -> Iterator[tuple[npt.NDArray[np.int64], torch.Tensor]]:
    """Cut token ids into batches of texts of about the same length.

    Args:
        model: an open_clip model; where padding can change its features, ids keep their full length.
        ids: int64 [n, context_length].
        rows: rows of a batch, at most.
        fill: give every batch exactly `rows` rows, so that its shape depends on its texts' length alone.

    Yields:
        `(places, batch)`: which rows of `ids` the first rows of `batch` are, and int64 [n, length]. The rows beyond
        `len(places)` repeat the first one; their features are to be dropped.
    """
    lengths = _text_lengths(model, ids) if can_shorten(model) else np.full(len(ids), ids.shape[1])
    for length in np.unique(lengths):
        of_length = np.flatnonzero(lengths == length)
        for start in range(0, len(of_length), rows):
            places = of_length[start : start + rows]
            more = rows - len(places) if fill else 0
            filled = np.concatenate([places, np.repeat(places[:1], more)])
            yield places, ids[torch.from_numpy(filled), : int(length)]


def _text_lengths(model: Any, ids: torch.Tensor) -> npt.NDArray[np.int64]:
    """Tokens up to the end mark, rounded up to a multiple of STEP and at most the context: int64 [n]."""
    ends = ids == model.text_eos_id if model.text_pool_type == "eos" else ids == ids.max(dim=1, keepdim=True).values
    lengths: npt.NDArray[np.int64] = ends.int().argmax(dim=1).numpy() + 1
    return np.minimum(-(-lengths // STEP) * STEP, ids.shape[1])


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
