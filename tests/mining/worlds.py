"""Small stores to mine of which everything is known, and one strategy run over them in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MiningConfig, MiningContext
from tests.index.vectors import build
from tests.retrieval.stores import make_store, random_unit

# Real words, so that the extractor sees nouns; their frequency falls as words' do, and the first is in half of all.
WORDS = [
    "man", "dog", "woman", "tree", "car", "house", "boat", "river", "horse", "cat", "bird", "table", "chair",
    "door", "window", "bridge", "road", "fence", "garden", "hat", "coat", "shoe", "bottle", "cup", "plate", "fork",
    "knife", "lamp", "clock", "book", "pencil", "bag", "basket", "ladder", "rope", "wheel", "engine", "flag",
    "drum", "guitar", "piano", "violin", "kite", "balloon", "candle", "mirror", "pillow", "blanket", "carpet",
    "bucket", "hammer",
]  # fmt: skip
SUBJECTS = ("dog", "boat", "lamp", "harp", "tree", "cup")
STORY_LENGTH = 4


def subject(row: int) -> str:
    return SUBJECTS[row % len(SUBJECTS)]


def mining_store(folder: Path, rows: int = 240, *, text: bool = True, dim: int = 32, **columns: Any) -> EmbeddingStore:
    """Row r shows `subject(r)`; every third row has a caption about nothing; rows in fours are a story of one hero.

    Images of a subject are alike, no two are one picture except the last two rows.
    """
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(len(SUBJECTS), dim))
    kind = np.arange(rows) % len(SUBJECTS)
    image = centers[kind] + 0.7 * rng.normal(size=(rows, dim))
    image[-1] = image[-2] + 0.001
    about = centers[kind] + 0.25 * rng.normal(size=(rows, dim))
    nothing = rng.normal(size=dim) + 0.02 * rng.normal(size=(rows, dim))
    says_nothing = np.arange(rows) % 3 == 0
    caption_vectors = np.where(says_nothing[:, None], nothing, about)
    captions = ["click to enlarge" if says_nothing[row] else f"a {subject(row)} number {row}" for row in range(rows)]
    truths = [
        {"truth": {"story": f"story {row // STORY_LENGTH}", "step": row % STORY_LENGTH, "objects": _objects(row)}}
        for row in range(rows)
    ]
    given: dict[str, Sequence[Any]] = {
        "caption": captions,
        "captions": [[caption] for caption in captions],
        "extra": [json.dumps(truth) for truth in truths],
        "sha256": [f"{row:064x}" for row in range(rows)],
    }
    return make_store(
        folder,
        _unit(image),
        _unit(caption_vectors) if text else None,
        images=[b""] * rows,
        **{**given, **columns},
    )


def index_both(store: EmbeddingStore) -> None:
    build(IndexConfig(store=str(store.path), modality="image"))
    build(IndexConfig(store=str(store.path), modality="text"))


def _objects(row: int) -> list[dict[str, Any]]:
    """A nameless thing, and in the first half of the rows one of ten heroes."""
    hero = {"type": subject(row), "entity": f"Hero {row % 10}"}
    return [{"type": "cloud", "entity": None}, *([hero] if row < 120 else [])]


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float16]:
    unit: npt.NDArray[np.float16] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return unit


def skewed_captions(rows: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    chance = 0.6 / (1 + np.arange(len(WORDS))) ** 0.7
    chance[0] = 0.5
    return [
        f"{row}: " + " and ".join(f"a {WORDS[place]}" for place in np.flatnonzero(rng.random(len(WORDS)) < chance))
        for row in range(rows)
    ]


def captions_context(
    folder: Path, captions: Sequence[str | None], *, lists: Any = None, which: str = "caption", **config: Any
) -> MiningContext:
    rows = len(captions)
    lists = lists or [[caption] for caption in captions]
    make_store(folder, random_unit(rows), images=[b""] * rows, caption=captions, captions=lists)
    config["captions"] = which
    asked = MiningConfig(str(folder / "store"), str(folder / "out"), (("overlap", 1.0),), **config)
    return MiningContext(asked, "overlap", asked.sets, str(folder / "work"))
