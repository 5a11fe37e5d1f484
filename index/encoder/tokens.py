"""Texts to tokens with open_clip's tokenizers, counting what the context cuts off. Knows no models.

open_clip cuts a long text silently; here every text comes with whether it was cut. The tokens are open_clip's own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Tokenizer", "Tokens"]

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
        from index.files import hash_json

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
