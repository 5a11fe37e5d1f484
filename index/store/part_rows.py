"""The rows of one item as they come out of the encoder, and the bytes of their files. Knows no paths."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.corpus.decoding import Batch
from index.corpus.samples import Reject
from index.encoder.clip_encoder import Encoder
from index.store.metadata import METADATA_SCHEMA, REJECTS_SCHEMA, parquet_bytes

__all__ = ["PartRows"]


class PartRows:
    """Collects batches in memory: 10,000 rows of 512 are some 25 MB."""

    def __init__(self, encoder: Encoder) -> None:
        self.rejects: list[Reject] = []
        self._encoder = encoder
        self._metadata: list[dict[str, Any]] = []
        none = np.empty((0, encoder.dim), np.float16)
        self._vectors: dict[str, list[npt.NDArray[np.float16]]] = {"image": [none], "text": [none]}

    @property
    def rows(self) -> int:
        """Rows so far, without the rejects."""
        return len(self._metadata)

    @property
    def captions_cut(self) -> int:
        """Rows whose caption is longer than the text tower's context."""
        return sum(row["text_tokens_cut"] for row in self._metadata)

    def reject_counts(self) -> dict[str, int]:
        """Rejects by reason."""
        return dict(sorted(Counter(reject.reason for reject in self.rejects).items()))

    def add(self, batch: Batch) -> None:
        """Encode a batch; rows for which the model gives no finite vector are rejected as `encoder_nan`."""
        image = self._encoder.encode_pixels(batch.pixels)
        text = self._encoder.encode_tokens(batch.tokens)
        finite = np.isfinite(np.concatenate([image, text], axis=1)).all(axis=1).tolist()
        for row, is_finite in zip(batch.rows, finite, strict=True):
            if is_finite:
                self._metadata.append(row)
            else:
                self.rejects.append(Reject(row["key"], row["shard"], "embed", "encoder_nan"))
        keep = np.flatnonzero(finite)
        self._vectors["image"].append(image[keep])
        self._vectors["text"].append(text[keep])

    def file_bytes(self, kind: str) -> bytes:
        """The bytes of the part's "image", "text", "metadata" or "rejects" file."""
        if kind == "metadata":
            return parquet_bytes(pa.Table.from_pylist(self._metadata, schema=METADATA_SCHEMA))
        if kind == "rejects":
            return parquet_bytes(pa.Table.from_pylist([asdict(r) for r in self.rejects], schema=REJECTS_SCHEMA))
        stream = io.BytesIO()
        np.save(stream, np.concatenate(self._vectors[kind]), allow_pickle=False)
        return stream.getvalue()
