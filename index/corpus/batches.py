"""Batches for the encoder, prepared ahead of it: threads decode images to pixels, then captions are tokenized.

The order of the samples is kept and the memory is bounded. Pillow releases Python's lock while it decodes and scales,
so this runs while the encoder computes; where a few threads are not enough, each of them waits for a process that
decodes (`index.corpus.decoders`). Captions are tokenized a batch at a time, since Hugging Face's tokenizers take as
long for one text as for ten.
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

from index.corpus.decoders import DecoderDied, ScaledImage
from index.corpus.image_decoding import ImageRejected
from index.corpus.samples import Reject, Sample
from index.encoder.clip_encoder import Encoder
from index.errors import ClipmineError
from index.read_ahead import read_ahead

__all__ = ["Batch", "Decoded", "cut_batches", "decode_ahead", "decode_sample"]

# Encoded bytes that may wait for a decoder. One image may have 64 MB, so a limit on the number of images is not enough.
_WAITING_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """A sample's pixels, uint8 [h, w, 3], and its metadata `row` by METADATA_SCHEMA without `text_tokens_cut`."""

    row: dict[str, Any]
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that are encoded together: metadata rows, pixels uint8 [n, h, w, 3], tokens int64 [n, context]."""

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


def decode_sample(sample: Sample, scaled: Callable[[bytes], ScaledImage], caption_index: int) -> Decoded | Reject:
    """Decode and scale one sample; a Reject of stage "decode" when its image or caption cannot be used.

    Args:
        scaled: gives the pixels of an image file, here or in another process.
        caption_index: which of the sample's captions is embedded; 0 is `sample.caption`.

    Raises:
        ClipmineError: two processes that decoded the image were killed, or one failed or could not be started.
    """
    if caption_index == 0:
        caption = sample.caption
    elif caption_index < len(sample.captions):
        caption = sample.captions[caption_index]
    else:
        return Reject(sample.key, sample.shard, "decode", "no_such_caption")
    try:
        width, height, pixels = scaled(sample.image)
    except ImageRejected as rejected:
        return Reject(sample.key, sample.shard, "decode", rejected.reason)
    except DecoderDied as died:
        raise ClipmineError(
            f"image {sample.key} of {sample.shard}: the process that decodes it failed ({died}); if memory ran "
            "out, give the workers more memory or fewer cores, and run the same command again"
        ) from died
    row = {
        "key": sample.key,
        "shard": sample.shard,
        "offset": sample.offset,
        "size": sample.size,
        "caption": caption,
        "captions": list(sample.captions),
        "url": sample.url,
        "width": width,
        "height": height,
        "sha256": sample.sha256,
        "extra": sample.extra,
    }
    return Decoded(row, pixels)


def decode_ahead(
    samples: Iterator[Sample | Reject], decode: Callable[[Sample], Decoded | Reject], threads: int, ahead: int
) -> Iterator[Decoded | Reject]:
    """Yield `decode(sample)` for each sample in order, while `threads` threads decode up to `ahead` samples beforehand.

    Rejects keep their place in the order. What `samples` or `decode` raises is raised here. Closing the generator ends
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
    """A number of bytes for samples that wait for decoding. A sample larger than all of it waits until it is unused."""

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
