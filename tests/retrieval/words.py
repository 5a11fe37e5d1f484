"""A text encoder whose vectors we choose, so that the right answers of a search are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.retrieval.stores import MODEL, unit


class WordEncoder:
    """Encodes a text as the sum of its known words' vectors; unknown words add a little that differs by text."""

    context_length = 77

    def __init__(self, words: Mapping[str, npt.ArrayLike], dim: int) -> None:
        self.words = {word: np.asarray(vector, np.float64) for word, vector in words.items()}
        self.dim = dim
        self.fingerprint: dict[str, Any] = {**MODEL, "dim": dim}
        self.encoded: list[str] = []

    def encode_texts(self, texts: Sequence[str], batch_size: int = 64) -> npt.NDArray[np.float16]:
        self.encoded.extend(texts)
        return unit([self._vector(text) for text in texts]) if texts else np.zeros((0, self.dim), np.float16)

    def encode_queries(
        self, texts: Sequence[str], *, repeatable: bool = True
    ) -> tuple[npt.NDArray[np.float16], list[bool]]:
        return self.encode_texts(texts), [len(text.split()) > self.context_length for text in texts]

    def count_long(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) > self.context_length for text in texts)

    def _vector(self, text: str) -> npt.NDArray[np.float64]:
        total = np.zeros(self.dim)
        for word in re.findall(r"[a-z]+", text.lower()):
            known = self.words.get(word)
            total += known if known is not None else 0.01 * np.random.default_rng(len(word)).normal(size=self.dim)
        return total
