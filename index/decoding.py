"""Decode samples ahead of the encoder: threads turn bytes into pixels and captions into tokens, in order, bounded.

Pillow releases the GIL while it decodes and scales, so this runs while the encoder computes. Knows no stores.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from index.encoders import Encoder
from index.images import ImageRejected, decode_image
from index.samples import Reject, Sample

__all__ = ["Decoded", "decode_ahead", "decode_sample"]

# Encoded bytes that wait for a decoder at once; one image may be 64 MB, so counting images alone bounds nothing.
_WAITING_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Decoded:
    """A sample ready for the encoder: pixels uint8 [h, w, 3], tokens int64 [context]; `row` is its metadata."""

    row: dict[str, Any]  # by the columns of METADATA_SCHEMA
    pixels: npt.NDArray[np.uint8]
    tokens: torch.Tensor


def decode_sample(
    sample: Sample, encoder: Encoder, caption_index: int, max_bytes: int, max_pixels: int
) -> Decoded | Reject:
    """Decode, scale and tokenize one sample; a Reject of stage "decode" when its image or caption cannot be used."""
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
    tokens = encoder.tokenize([caption])
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
        "text_tokens_cut": tokens.cut[0],
        "extra": sample.extra,
    }
    return Decoded(row, encoder.to_pixels(image), tokens.ids[0])


def decode_ahead(
    samples: Iterator[Sample | Reject], decode: Callable[[Sample], Decoded | Reject], threads: int, ahead: int
) -> Iterator[Decoded | Reject]:
    """Yield `decode(sample)` for each sample in order, with up to `ahead` of them decoding or decoded beforehand.

    Rejects pass through in their place. What `samples` or `decode` raises is raised here. Closing the generator ends
    the threads.
    """
    ready: queue.Queue[Future[Decoded | Reject] | Reject | _End] = queue.Queue(maxsize=ahead)
    budget = _Budget(_WAITING_BYTES)
    stop = threading.Event()

    def run(sample: Sample) -> Decoded | Reject:
        try:
            return decode(sample)
        finally:
            budget.give_back(len(sample.image))

    def feed() -> None:
        error: BaseException | None = None
        try:
            for sample in samples:
                if stop.is_set():
                    return
                if isinstance(sample, Reject):
                    ready.put(sample)
                else:
                    budget.take(len(sample.image))
                    ready.put(pool.submit(run, sample))
        except BaseException as raised:
            error = raised
        finally:
            ready.put(_End(error))

    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        feeder = threading.Thread(target=feed, name="read", daemon=True)
        feeder.start()
        try:
            while True:
                entry = ready.get()
                if isinstance(entry, _End):
                    if entry.error is not None:
                        raise entry.error
                    return
                yield entry if isinstance(entry, Reject) else entry.result()
        finally:
            stop.set()
            while feeder.is_alive():  # it may wait for a place in the queue
                with suppress(queue.Empty):
                    ready.get(timeout=0.05)


@dataclass(frozen=True)
class _End:
    error: BaseException | None


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
