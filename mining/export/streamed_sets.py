"""Image sets as a streaming torch dataset for many workers and ranks, which can stop within an epoch and go on.

    stream = torch_stream(pairs, preprocess)          # or torch_stream_tars("tars", preprocess)
    for epoch in range(3):
        stream.set_epoch(epoch)
        for batch in DataLoader(stream, batch_size=64, num_workers=4):
            train(batch)
            stream.advance(batch)
            if checkpoint_is_due():
                torch.save({"stream": stream.state_dict(), ...}, path)

Workers read ahead, so only the caller knows which batches were trained on, and says so with `advance`. After
`stream.load_state_dict(...)` a loader with as many workers gives the batches that follow, in the same order.
torchdata's StatefulDataLoader keeps the states itself.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from index.errors import BadInput, ImagesNotLocal
from mining.export.member_images import MemberImages
from mining.export.read_sets import decoded
from mining.export.sample_files import SampleFiles, SetFiles
from mining.export.samples import Choice, PerSet, Samples, TurnChoice
from mining.export.shares import Place, Share, rank_count, share_of
from mining.export.skipped import NAMED, LoggedSkips, OnSkipped, SkippedSet, log, tell_unused
from mining.export.stream_state import StreamState, read_state
from mining.export.tar_samples import TarSamples
from mining.export.templates import Template
from mining.export.torch_sets import TorchSample, Transform, torch_sample
from mining.export.turns import Answer, Question
from mining.sets.attached import Names
from mining.sets.image_sets import ImageSets
from mining.sets.sources import Folder, Moved

__all__ = ["StreamedSets", "torch_stream", "torch_stream_tars"]

# DataLoader workers of a rank; the counts that they share with the main process have so many rows.
_MOST_WORKERS = 1024
# The columns of the counts. Those of an epoch come first; then the number of the loaded state that the worker has used,
# and how many skipped sets it has named in the log.
_GIVEN, _SKIPPED, _REPEATED, _LOADED, _NAMED = range(5)


class StreamedSets(IterableDataset[TorchSample]):
    """Streaming dataset: all workers of all ranks together give every sample once an epoch, ordered by seed and epoch.

    A sample with an image that can't be read is skipped, counted and given to `on_skipped`; by default the first ten of
    this rank are written to the log. Call `set_epoch` before each epoch for another order, also with persistent
    workers. A sample is as in `mining.export.torch_sets`, with `position` int64 [5], which `advance` reads.
    """

    def __init__(
        self,
        samples: SampleFiles,
        transform: Transform | None = None,
        *,
        seed: int | None = 0,
        equal: bool | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        on_skipped: OnSkipped | None = None,
    ) -> None:
        """seed: of the shuffle; None keeps the stored order. equal: every rank gives equally many samples, as
        synchronous training needs; the remainder is left out, other samples in each epoch, and where a sample can't be
        read another one of the rank comes instead. By default where there are several ranks. rank, world_size: by
        default torch.distributed's, else those of the environment (RANK, WORLD_SIZE), else one.

        Raises BadInput where there are fewer samples than ranks; with fewer than workers, when the loader starts.
        """
        if (rank is None) != (world_size is None) or (rank is not None and not 0 <= rank < (world_size or 0)):
            raise BadInput(f"rank {rank} of {world_size}: give both, the rank from 0")
        self.samples, self.transform, self.seed = samples, transform, seed
        self.on_skipped = on_skipped
        self._named: set[str] = set()
        self._equal, self._rank, self._world_size = equal, rank, world_size
        # Shared memory, so that workers that live on see a change, and the main process sees theirs.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._counts = torch.zeros(_MOST_WORKERS, 5, dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._counts.share_memory_()  # type: ignore[no-untyped-call]
        # How far each worker's share is: (samples tried, samples given), as far as this process knows.
        self._next: dict[int, tuple[int, int]] = {}
        self._last, self._workers = -1, 1  # the share that gave the last sample, of how many
        self._loaded: tuple[StreamState, int] | None = None  # and a random number, by which a worker knows it
        # Grows where an iteration begins or is made void, so that an older one no longer changes the state.
        self._run = 0
        len(self)  # fails here rather than in a worker

    def __len__(self) -> int:
        """The samples of this rank in an epoch: exactly where `equal`, else at most, since some may not be readable."""
        place = self._place()
        return rank_count(len(self.samples), place, self._is_equal(place))

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, from 0. The epoch of a state that was loaded goes on where it was.

        What an iteration gives that began before is not counted any more. Raises BadInput for anything but a number
        from 0.
        """
        if type(epoch) is not int or not 0 <= epoch < 1 << 62:  # `type`, since True == 1
            raise BadInput(f"set_epoch({epoch!r:.50}): an epoch is a whole number from 0")
        if self._loaded is not None and self._loaded[0].epoch == epoch:
            return
        self._run += 1
        self._epoch.fill_(epoch)
        self._counts[:, :_LOADED].zero_()
        self._next, self._last, self._loaded = {}, -1, None

    def counts(self) -> dict[str, int]:
        """Of this rank in this epoch: samples given, skipped, and repeated, where equal shares had no other left."""
        names = ("given", "skipped", "repeated")
        return dict(zip(names, self._counts[:, :_LOADED].sum(0).tolist(), strict=True))

    def advance(self, batch: Mapping[str, Any]) -> None:
        """Note that the samples of a batch were taken; the batches must come in the loader's order."""
        position = batch.get("position") if isinstance(batch, Mapping) else None
        if not isinstance(position, torch.Tensor) or not position.numel() or position.numel() % 5:
            raise BadInput(
                "advance: give it a batch as the stream's loader gives it, with the tensor `position`; a collate_fn of "
                "your own has to keep it"
            )
        for epoch, workers, share, tried, given in position.reshape(-1, 5).tolist():
            if epoch != int(self._epoch):
                raise BadInput(f"a batch of epoch {epoch} came after set_epoch({int(self._epoch)})")
            if tried <= self._next.get(share, (0, 0))[0]:  # the same epoch from its start again
                self._next = {}
            self._next[share] = (tried, given)
            self._last, self._workers = share, workers

    def state_dict(self) -> dict[str, Any]:
        """Where this rank is within the epoch, as JSON data.

        Raises BadInput where workers gave samples and the caller has not said with `advance` which ones it took.
        """
        in_worker = get_worker_info() is not None
        if not in_worker and not self._next and self.counts()["given"]:
            raise BadInput("workers read ahead: call stream.advance(batch) after each batch, then state_dict()")
        return {
            "epoch": int(self._epoch),
            **self._shape(),
            "workers": self._workers,
            "next": [[share, *each] for share, each in sorted(self._next.items())],
            "last": -1 if in_worker else self._last,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was called; before a loader starts its workers.

        Raises BadInput where the samples, the shuffle or the ranks are others than they were, or what is given is no
        state; the stream is then as before.
        """
        place = self._place()
        read = read_state(state, self._shape(), len(self), self._is_equal(place), _MOST_WORKERS)
        self._loaded = None
        self.set_epoch(read.epoch)
        self._next = dict(read.next)
        self._last, self._workers = read.last, read.workers
        self._loaded = read, secrets.randbits(62)

    def __iter__(self) -> Iterator[TorchSample]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        reader, tried, given = self._begin(number, workers)
        epoch, place = int(self._epoch), self._place(reader, workers)
        share = share_of(
            self.samples.blocks(epoch),
            place=place,
            equal=self._is_equal(place),
            window=self.samples.window,
            seed=self.seed,
            epoch=epoch,
        )
        self._run += 1
        run = self._run
        for sample, now in self._items(share, tried, given):
            given += 1
            if run == self._run and epoch == int(self._epoch):  # the epoch also changes while a worker reads
                self._next[reader], self._last, self._workers = (now, given), reader, workers
                self._counts[number, _GIVEN] += 1
                self._counts[number, _REPEATED] += int(now > len(share))
            yield TorchSample(sample, position=torch.tensor([epoch, workers, reader, now, given]))

    def _begin(self, number: int, workers: int) -> tuple[int, int, int]:
        """(share of this worker, samples tried before, samples given before). A loaded state is used once."""
        if workers > _MOST_WORKERS:
            raise BadInput(f"{workers} workers: at most {_MOST_WORKERS} a rank")
        if self._loaded is None or int(self._counts[number, _LOADED]) == self._loaded[1]:
            self._next = {}
            return number, 0, 0
        state, loaded = self._loaded
        if state.next and state.workers != workers:
            raise BadInput(f"the state is of a loader with {state.workers} workers, this one has {workers}")
        self._counts[number, _LOADED] = loaded
        # The loader begins with worker 0, which takes the share whose batch would have come next.
        reader = (number + state.last + 1) % workers
        return reader, *self._next.get(reader, (0, 0))

    def _items(self, share: Share, tried: int, given: int) -> Iterator[tuple[TorchSample, int]]:
        """Yield (sample, number of samples tried so far); with a quota readable ones are repeated until it is met."""
        unreadable = 0  # in a row
        while share.quota is None or given < share.quota:
            for window in share.from_place(tried if share.quota is None else tried % len(share)):
                for found in self.samples.read(window):
                    tried += 1
                    images = found if isinstance(found, SkippedSet) else decoded(found[0].set, found[1])
                    if isinstance(found, SkippedSet) or isinstance(images, SkippedSet):
                        unreadable += 1
                        if tried <= len(share):
                            self._tell(images)
                        continue
                    unreadable = 0
                    given += 1
                    yield torch_sample(found[0], images, self.transform), tried
                    if given == share.quota:
                        return
            if share.quota is None:
                return
            if unreadable >= len(share):
                raise ImagesNotLocal(f"of none of the {len(share)} samples of this worker all images can be read")

    def _tell(self, skipped: Any) -> None:
        worker = get_worker_info()
        own = self._counts[worker.id if worker else 0]
        own[_SKIPPED] += 1
        if self.on_skipped is not None:
            self.on_skipped(skipped)
        elif skipped.set_id not in self._named and (named := int(self._counts[:, _NAMED].sum())) < NAMED:
            own[_NAMED] += 1
            self._named.add(skipped.set_id)
            more = "" if named + 1 < NAMED else "; further ones are only counted: stream.counts()"
            log.warning("skipped %s%s", skipped, more)

    def _shape(self) -> dict[str, Any]:
        """The properties of the stream that a loaded state must agree with."""
        place = self._place()
        return {
            "samples": len(self.samples),
            "seed": self.seed,
            "ranks": [place.rank, place.ranks],
            "digest": self._digest,
        }

    @cached_property
    def _digest(self) -> str:
        return self.samples.digest()

    def _is_equal(self, place: Place) -> bool:
        return place.ranks > 1 if self._equal is None else self._equal

    def _place(self, worker: int = 0, workers: int = 1) -> Place:
        if self._rank is not None and self._world_size is not None:
            return Place(self._rank, self._world_size, worker, workers)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
            return Place(rank, ranks, worker, workers)
        own, every = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
        try:
            return Place(int(own), int(every), worker, workers)
        except ValueError as error:
            raise BadInput(f"RANK={own!r:.50} WORLD_SIZE={every!r:.50}: they are whole numbers") from error


def torch_stream(
    sets: ImageSets,
    transform: Transform | None = None,
    *,
    seed: int | None = 0,
    equal: bool | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    moved: Moved = None,
    kind: Names | None = None,
    annotator: Names | None = None,
    answer: Answer | None = None,
    per_set: PerSet = "all",
    question: Question = None,
    template: Template = None,
    rejected: bool = False,
    on_skipped: OnSkipped | None = None,
) -> StreamedSets:
    """A streaming dataset with images from their sources, shared out among workers and ranks: see StreamedSets.

    moved: where the images' sources are now: see MemberImages. kind, annotator, answer, per_set, question, template,
    rejected: see `mining.export.samples.Choice`; sets without a caption are given with empty messages. Sets that give
    no sample are told as skipped ones are.
    """
    choice: Choice = {
        "kind": kind,
        "annotator": annotator,
        "answer": answer,
        "per_set": per_set,
        "question": question,
        "template": template,
        "rejected": rejected,
    }
    samples = Samples(sets, silent=True, seed=seed or 0, **choice)
    with LoggedSkips() as logged:
        tell_unused(samples, on_skipped, logged)
    images = MemberImages(sets, moved)
    files = SetFiles(samples, images)
    if len(sets):
        images.open(sets[0])  # fails here rather than in a worker
    return StreamedSets(
        files, transform, seed=seed, equal=equal, rank=rank, world_size=world_size, on_skipped=on_skipped
    )


def torch_stream_tars(
    folder: Folder,
    transform: Transform | None = None,
    *,
    seed: int | None = 0,
    equal: bool | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    kind: Names | None = None,
    annotator: Names | None = None,
    answer: Answer | None = None,
    per_set: PerSet = "all",
    question: Question = None,
    template: Template = None,
    on_skipped: OnSkipped | None = None,
) -> StreamedSets:
    """The same over the tars that `to_webdataset` wrote, which are read one after another.

    It has neither `moved` nor `rejected`, since the tars hold the images of the sets that were exported.
    """
    choice: TurnChoice = {
        "kind": kind,
        "annotator": annotator,
        "answer": answer,
        "per_set": per_set,
        "question": question,
        "template": template,
    }
    files = TarSamples(folder, seed=seed or 0, **choice)
    with LoggedSkips() as logged:
        tell_unused(files, on_skipped, logged)
    return StreamedSets(
        files, transform, seed=seed, equal=equal, rank=rank, world_size=world_size, on_skipped=on_skipped
    )
