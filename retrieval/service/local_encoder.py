"""One model of this process behind batch queues, shared by all stores that were embedded with it.

Encoding texts and encoding images have a thread each; image files are decoded in two others.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from index.corpus.image_decoding import ImageRejected, decode_image
from retrieval.query_blocks import PROMPTS_AT_ONCE
from retrieval.service.backend import Texts
from retrieval.service.batching import Batcher, batch_queue
from retrieval.service.images import DECODED_AT_ONCE, unusable
from retrieval.service.memory import run_in_halves
from retrieval.service.settings import Settings
from retrieval.service.threads import all_or_none, run_to_end
from retrieval.service.turns import FairPool

if TYPE_CHECKING:
    from index.encoder.clip_encoder import Encoder

__all__ = ["LocalEncoder", "Observe", "decode_query_image"]

IMAGES_AT_ONCE = 16
STUCK_SECONDS = 120.0  # a call of the encoder that takes longer than this will probably not end

# Called after each batch with the stage's name, its number of requests, and their size in texts, images or vectors.
Observe = Callable[[str, int, int], None]


class LocalEncoder:
    """Encodes with the model that `load` returns, which is called once, at the first use.

    observe: see `Observe`. The stores that share it call `share` and, when they close, `close`; the last one stops it.
    """

    def __init__(self, load: Callable[[], Encoder], settings: Settings) -> None:
        self.observe: Observe | None = None
        self._load, self._settings = load, settings
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()
        self._users = 0
        self._decoders = FairPool(DECODED_AT_ONCE, "decode")
        limits: dict[str, Any] = {"queue": batch_queue(settings), "wait_ms": settings.wait_ms}
        self._texts: Batcher[tuple[list[str], bool], Texts] = Batcher(
            "the text encoder", self._encode, most=PROMPTS_AT_ONCE, observe=partial(self._saw, "encode_texts"), **limits
        )
        self._images: Batcher[npt.NDArray[np.uint8], npt.NDArray[np.float16]] = Batcher(
            "the image encoder", self._encode_pixels, most=IMAGES_AT_ONCE,
            observe=partial(self._saw, "encode_images"), **limits,
        )  # fmt: skip

    @property
    def encoder(self) -> Encoder:
        """The model, loaded at the first call. Raises what `load` raises."""
        with self._loading:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    @property
    def loaded(self) -> bool:
        """Whether the model is there."""
        return self._encoder is not None

    def stuck(self) -> str | None:
        """One line when a call of the model has been running for so long that it will probably not end."""
        for batcher in (self._texts, self._images):
            if batcher.running_seconds > STUCK_SECONDS:
                return f"{batcher.what} has been busy with one call for {batcher.running_seconds:.0f} s"
        return None

    async def texts(self, texts: Sequence[str], *, repeatable: bool = False) -> Texts:
        """Encode texts in slices, so that texts of other requests are encoded between them."""
        slices: list[Texts] = []
        done = 0
        while done < len(texts) or not slices:
            part = list(texts[done : done + self._texts.size_now])
            slices.append(await self._texts.submit((part, repeatable), len(part)))
            done += len(part)
        if len(slices) == 1:
            return slices[0]
        return Texts(np.concatenate([one.vectors for one in slices]), [cut for one in slices for cut in one.cut])

    async def images(self, images: Sequence[bytes]) -> npt.NDArray[np.float16]:
        """Decode and encode image files. BadInput names the image that cannot be decoded; no other is decoded then."""
        calls = [run_to_end(self._decoders, self._decode, data, place) for place, data in enumerate(images)]
        pixels = await all_or_none(calls)
        rows = await asyncio.gather(*(self._images.submit(picture) for picture in pixels))
        return np.stack(rows)

    def share(self) -> LocalEncoder:
        """This encoder, with one more user."""
        self._users += 1
        return self

    def unshare(self) -> bool:
        """A user has gone; whether it was the last."""
        self._users -= 1
        return self._users <= 0

    async def close(self) -> None:
        """A user has gone. The last one stops the encoder, after the requests that wait have been answered."""
        if not self.unshare():
            return
        for batcher in (self._texts, self._images):
            await batcher.close()
        self._decoders.shutdown()

    def _saw(self, stage: str, requests: int, size: int) -> None:
        if self.observe is not None:
            self.observe(stage, requests, size)

    def _decode(self, data: bytes, place: int) -> npt.NDArray[np.uint8]:
        return decode_query_image(self.encoder, data, place, self._settings)

    def _encode(self, requests: list[tuple[list[str], bool]]) -> list[Texts]:
        texts = [text for own, _ in requests for text in own]
        # A text has its repeatable vector only in a batch that is made so as a whole.
        encode = partial(self.encoder.encode_queries, repeatable=any(asked for _, asked in requests))
        vectors, cut = run_in_halves(encode, texts, _join)
        answers, start = [], 0
        for own, _ in requests:
            end = start + len(own)
            answers.append(Texts(vectors[start:end], cut[start:end]))
            start = end
        return answers

    def _encode_pixels(self, pictures: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float16]]:
        return list(run_in_halves(lambda some: self.encoder.encode_pixels(np.stack(some)), pictures, np.concatenate))


def decode_query_image(encoder: Encoder, data: bytes, place: int, settings: Settings) -> npt.NDArray[np.uint8]:
    """An image file as the model's pixels, its size bounded before it is decoded. BadInput says why not."""
    try:
        return encoder.to_pixels(decode_image(data, settings.max_image_bytes, settings.max_image_pixels))
    except ImageRejected as error:
        raise unusable(place, error) from error


def _join(parts: list[tuple[npt.NDArray[np.float16], list[bool]]]) -> tuple[npt.NDArray[np.float16], list[bool]]:
    return np.concatenate([vectors for vectors, _ in parts]), [cut for _, cuts in parts for cut in cuts]
