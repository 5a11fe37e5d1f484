"""Stores of captions for benchmarks of caption mining: real captions or those of the scenes, joined to a given length.

Localized Narratives has 873,000 captions of 36.5 words on average (CaD-VI, section 3.1). Rows of about that length are
made by joining captions drawn with replacement (three, for captions of 12 words). So rows share whole captions, as alt
texts do, and nouns keep their real frequencies. There are no images: their vectors are random.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from index.store.metadata import METADATA_SCHEMA, parquet_bytes
from index.store.store_manifest import FileRecord, Manifest, Part, part_paths, write_manifest

__all__ = ["WORDS", "captions_store", "read_captions", "resampled", "scene_captions"]

WORDS = 36.5  # of a caption of Localized Narratives
PART_ROWS = 50_000


def read_captions(path: Path) -> list[str]:
    """The captions of a table with a header line and the columns image, caption_no, caption, separated by tabs."""
    with open(path, encoding="utf-8") as stream:
        next(stream)
        return [line.rstrip("\n").split("\t")[2] for line in stream]


def scene_captions(scenes: int) -> list[str]:
    """The three longest clean captions of each of the demo's first `scenes` scenes."""
    from scenes.language.captions import captions
    from scenes.world.sample import sample

    return [text for number in range(scenes) for text in captions(sample("corpus", number)).clean[2:]]


def resampled(texts: list[str], rows: int) -> list[str]:
    """`rows` captions of about `WORDS` words, each joined from randomly drawn `texts`."""
    together = max(1, round(WORDS / np.mean([len(text.split()) for text in texts])))
    drawn = np.random.default_rng(0).integers(0, len(texts), (rows, together))
    return [" . ".join(texts[place] for place in places) for places in drawn.tolist()]


def captions_store(store: Path, texts: list[str], dim: int = 16) -> None:
    """Write a store that has these captions and random image vectors [rows, dim] of unit length."""
    rng = np.random.default_rng(0)
    parts: list[Part] = []
    for number, first in enumerate(range(0, len(texts), PART_ROWS)):
        some = texts[first : first + PART_ROWS]
        paths, files = part_paths(number), {}
        columns = {field.name: pa.nulls(len(some), field.type) for field in METADATA_SCHEMA}
        columns["key"] = pa.array([str(row) for row in range(first, first + len(some))])
        columns["caption"] = pa.array(some, pa.string())
        for kind in ("image", "metadata"):
            target = store / paths[kind]
            target.parent.mkdir(parents=True, exist_ok=True)
            if kind == "image":
                vectors = rng.normal(size=(len(some), dim)).astype(np.float32)
                np.save(target, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16))
            else:
                target.write_bytes(parquet_bytes(pa.table(columns, schema=METADATA_SCHEMA)))
            files[kind] = FileRecord(paths[kind], target.stat().st_size, None)
        parts.append(Part(f"{number:04d}", first, len(some), len(some), files))
    write_manifest(
        str(store),
        Manifest(
            kind="embedded",
            dim=dim,
            dtype="float16",
            unit_length=True,
            model={"name": "none", "dim": dim},
            corpus_root=None,
            parts=tuple(parts),
        ),
    )
