"""Prepare batches ahead of the encoder: threads turn bytes into pixels and captions into tokens, in order, bounded.

Pillow releases the GIL while it decodes and scales, so this runs while the encoder computes. Captions are tokenized a
batch at a time: Hugging Face's tokenizers cost as much for one text as for ten. Knows no stores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from index.corpus.images import ImageRejected, decode_image
from index.corpus.samples import Reject, Sample
from index.encoder.clip_encoder import Encoder
from index.read_ahead import read_ahead

__all__ = ["Batch", "Decoded", "cut_batches", "decode_ahead", "decode_sample"]

# Encoded bytes that wait for a decoder at once; one image may be 64 MB, so counting images alone bounds nothing.
_WAITING_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """A sample's pixels uint8 [h, w, 3], and its metadata `row` by METADATA_SCHEMA, but for what tokenizing tells."""

    row: dict[str, Any]
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes through the encoder at once: rows, pixels uint8 [n, h, w, 3], tokens int64 [n, context]."""

    rows: list[dict[str, Any]]
    pixels: npt.NDArray[np.uint8]
    tokens: torch.Tensor


def cut_batches(
    decoded: Iterator[Decoded | Reject], encoder: Encoder, batch_size: int
) -> Generator[Batch | Reject, None, None]:
    """Collect `batch_size` samples at a time and tokenize their captions together; rejects pass through."""
    waiting: list[Decoded] = []
    for entry in decoded:
        if isinstance(entry, Reject):
            yield entry
            continue
        waiting.append(entry)
        if len(waiting) == batch_size:
            yield _batch(waiting, encoder)
            waiting = []
    if waiting:
        yield _batch(waiting, encoder)


def _batch(decoded: list[Decoded], encoder: Encoder) -> Batch:
    tokens = encoder.tokenize([entry.row["caption"] for entry in decoded])
    rows = [{**entry.row, "text_tokens_cut": cut} for entry, cut in zip(decoded, tokens.cut, strict=True)]
    return Batch(rows, np.stack([entry.pixels for entry in decoded]), tokens.ids)


def decode_sample(
    sample: Sample, encoder: Encoder, caption_index: int, max_bytes: int, max_pixels: int
) -> Decoded | Reject:
    """Decode and scale one sample; a Reject of stage "decode" when its image or caption cannot be used."""
    if caption_index == 0:
        caption = sample.caption
    elif caption_index < len(sample.captions):
        caption = sample.captions[caption_index]
    else:
        return Reject(sample.key, sample.shard, "decode", "no_such_caption")
    try:
        image = decode_image(sample.image, max_bytes=max_bytes, max_pixels=max_pixels)
    except ImageRejected as rejected:
        return Reject(sample.key, sample.shard, "decode", rejected.reason)
    row = {
        "key": sample.key,
        "shard": sample.shard,
        "offset": sample.offset,
        "size": sample.size,
        "caption": caption,
        "captions": list(sample.captions),
        "url": sample.url,
        "width": image.width,
        "height": image.height,
        "sha256": sample.sha256,
        "extra": sample.extra,
    }
    return Decoded(row, encoder.to_pixels(image))


def decode_ahead(
    samples: Iterator[Sample | Reject], decode: Callable[[Sample], Decoded | Reject], threads: int, ahead: int
) -> Iterator[Decoded | Reject]:
    """Yield `decode(sample)` for each sample in order, with up to `ahead` of them decoding or decoded beforehand.

    Rejects pass through in their place. What `samples` or `decode` raises is raised here. Closing the generator ends
    the threads.
    """
    budget = _Budget(_WAITING_BYTES)

    def run(sample: Sample) -> Decoded | Reject:
        try:
            return decode(sample)
        finally:
            budget.give_back(len(sample.image))

    def submitted() -> Iterator[Future[Decoded | Reject] | Reject]:
        for sample in samples:
            if isinstance(sample, Reject):
                yield sample
            else:
                budget.take(len(sample.image))
                yield pool.submit(run, sample)

    with (
        ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool,
        closing(read_ahead(submitted(), ahead)) as ready,
    ):
        for entry in ready:
            yield entry if isinstance(entry, Reject) else entry.result()


class _Budget:
    """A number of bytes to take from and give back; one taker always gets through, however much it wants."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + size <= self._size)
            self._taken += size

    def give_back(self, size: int) -> None:
        with self._changed:
            self._taken -= size
            self._changed.notify()
