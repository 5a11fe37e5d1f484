"""Folders of embeddings as clip-retrieval leaves them, for `adopt`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def write_foreign(
    folder: Path,
    counts: dict[int, int],
    digits: int = 1,
    dtype: str = "float16",
    dim: int = 6,
    scale: float = 1.0,
    text: bool = True,
) -> Path:
    """What clip-retrieval's inference leaves: part number -> rows; captions say part and position."""
    chance = np.random.default_rng(0)
    for name in ("img_emb", "text_emb", "metadata"):
        if text or name != "text_emb":
            (folder / name).mkdir(parents=True, exist_ok=True)
    for number, rows in counts.items():
        vectors = chance.normal(size=(rows, dim))
        vectors *= scale / np.linalg.norm(vectors, axis=1, keepdims=True)
        for name in ("img_emb", "text_emb") if text else ("img_emb",):
            np.save(folder / name / f"{name}_{number:0{digits}d}.npy", vectors.astype(dtype))
        columns = {
            "image_path": [f"{number}/{position}" for position in range(rows)],
            "caption": [f"caption {number} {position}" for position in range(rows)],
            "NSFW": ["UNLIKELY"] * rows,
            "similarity": [0.3] * rows,
            "url": [f"https://example.org/{position}.jpg" for position in range(rows)],
            "width": [640.0] * rows,
        }
        pq.write_table(pa.table(columns), folder / "metadata" / f"metadata_{number:0{digits}d}.parquet")
    return folder


def change_vectors(store: Path, number: int, change: Callable[[np.ndarray], None], kind: str = "img_emb") -> None:
    """Let `change` edit the vectors of one part in place."""
    path = store / kind / f"{kind}_{number}.npy"
    vectors = np.load(path)
    change(vectors)
    np.save(path, vectors)
