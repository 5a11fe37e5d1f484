"""Loads the parts of each step ahead of the step: tokens from the cache, images by several threads.

    loader = PartLoader(data, plan, load_image, pad_id=0, budget=8192, packed=True, rank=0, workers=4)
    with loader.steps(first, last) as steps:
        for parts in steps: ...

What an image is loaded as is the caller's choice: pixels, decoded and scaled, or the cached features of its key, for
which its bytes are never read. A sample with an image that cannot be loaded is left out of its step and counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from customize.lmm.data.batches import BatchPlan, packed_rows, padded_parts, share_batch
from customize.lmm.data.collate import Collated, collate
from customize.lmm.data.encoded_mixture import EncodedMixture
from customize.lmm.data.sample import EncodedSample, ImageFile
from customize.lmm.data.skipped import SkippedCounts, SkippedSample
from customize.lmm.data.source import Numbers
from customize.lmm.data.token_cache import UNREADABLE
from index.errors import ClipmineError
from index.read_ahead import read_ahead

__all__ = ["LoadedPart", "PartLoader"]

T = TypeVar("T")
AHEAD = 2  # steps that are loaded ahead
THREADS = 4


@dataclass(frozen=True)
class LoadedPart(Generic[T]):
    """The samples of one forward pass and what each of their images was loaded as, in the order of their tokens."""

    collated: Collated
    images: tuple[T, ...]


@dataclass
class PartLoader(Generic[T]):
    """Loads the parts of a worker.

    Attributes:
        load_image: what an image becomes; raises ClipmineError where it cannot be loaded. Called by several threads.
        pad_id: token of padding. budget: most tokens of a part, padding included. packed: rows of several samples.
        rank, workers: whose share of each batch is loaded.
        threads: that load images. ahead: steps that are loaded before they are asked for.
        skipped: the samples that were left out, by source and reason.
    """

    data: EncodedMixture
    plan: BatchPlan
    load_image: Callable[[ImageFile], T]
    pad_id: int
    budget: int
    packed: bool = False
    rank: int = 0
    workers: int = 1
    threads: int = THREADS
    ahead: int = AHEAD
    skipped: SkippedCounts = field(default_factory=SkippedCounts)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def steps(self, first: int, last: int) -> Iterator[Iterator[list[LoadedPart[T]]]]:
        """Open the stream of the steps first .. last - 1; a step without a sample for this worker has no parts."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="load-images") as threads:
            steps = (self._step(step, threads) for step in range(first, last))
            with closing(read_ahead(steps, self.ahead)) as ready:
                yield ready

    def parts(self, step: int) -> list[Numbers]:
        """The samples of this worker's parts of a step."""
        lengths = self.data.lengths
        own = share_batch(self.plan.batch(step), lengths, self.workers)[self.rank]
        return packed_rows(own, lengths, self.budget) if self.packed else padded_parts(own, lengths, self.budget)

    def _step(self, step: int, threads: ThreadPoolExecutor) -> list[LoadedPart[T]]:
        parts = [[(number, self.data[number]) for number in part.tolist()] for part in self.parts(step)]
        images = {image.key: image for part in parts for _, sample in part for image in sample.images}
        loaded = dict(zip(images, threads.map(self._loaded, images.values()), strict=True))
        found = (self._part(part, loaded) for part in parts)
        return [part for part in found if part is not None]

    def _part(
        self, part: Sequence[tuple[int, EncodedSample]], loaded: dict[str, T | ClipmineError]
    ) -> LoadedPart[T] | None:
        kept: list[tuple[int, EncodedSample]] = []
        images: list[T] = []
        for number, sample in part:
            own = [loaded[image.key] for image in sample.images]
            broken = next((each for each in own if isinstance(each, ClipmineError)), None)
            if broken is not None:
                with self._lock:
                    self.skipped(SkippedSample(sample.sample_id, sample.source, UNREADABLE, str(broken)))
                continue
            kept.append((number, sample))
            images += [each for each in own if not isinstance(each, ClipmineError)]
        if not kept:
            return None
        sources = [self.data.source_of(number) for number, _ in kept]
        collated = collate([sample for _, sample in kept], sources, pad_id=self.pad_id, packed=self.packed)
        return LoadedPart(collated, tuple(images))

    def _loaded(self, image: ImageFile) -> T | ClipmineError:
        try:
            return self.load_image(image)
        except ClipmineError as error:
            return error
