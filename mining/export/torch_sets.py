"""Image sets as torch datasets over the store's images: map-style, and streaming for many workers and ranks.

    loader = DataLoader(torch_dataset(pairs, preprocess), batch_size=64, shuffle=True, num_workers=4)

A sample is a dict: `images` float [n, 3, h, w] (a list where the transform gives no tensors of one shape; PIL images
without a transform), `captions` n texts ("" where there is none), `row_ids` int64 [n], `set_id`, `strategy`, `level`,
`image_sim` and `text_sim` (nan where unknown). Sets of one size go through torch's own collation; for sets of several
sizes give the loader `collate_fn=collate_sets`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.export.member_images import decoded, decoded_sets, read_members
from mining.export.skipped import OnSkipped, warn
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import GROUP_SETS

__all__ = ["StreamedSets", "TorchSets", "Transform", "collate_sets", "torch_dataset", "torch_stream"]

Folder = str | os.PathLike[str]
Sample = dict[str, Any]
# PIL image in RGB -> the model's input, such as open_clip's preprocess.
Transform = Callable[[Any], Any]

# Sets that are shuffled together while streaming: 32 groups, few enough that each is read once an epoch, as the
# layout keeps them decoded.
_WINDOW = 32 * GROUP_SETS


class TorchSets(Dataset[Sample]):
    """Map-style dataset. An image that can't be read raises UnreadableMember, which names set and row."""

    def __init__(self, sets: ImageSets, transform: Transform | None = None, *, store: Folder | None = None) -> None:
        """store: where the store is now, if it was moved. Raises as `ImageSets.store` does."""
        self.sets, self.transform = sets, transform
        self._store = sets.store(store)

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, place: int) -> Sample:
        each = self.sets[place]
        return _sample(each, decoded(each, read_members(self._store, each)), self.transform)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": os.fspath(self._store.path)}  # memory maps stay in their process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "_store": EmbeddingStore.open(state["_store"])})


class StreamedSets(IterableDataset[Sample]):
    """Streaming dataset: all workers of all ranks together give every set once an epoch, ordered by seed and epoch.

    A set with an image that can't be read is skipped and given to `on_skipped`, by default written to the log. Call
    `set_epoch` before each epoch for another order, also with persistent workers.
    """

    def __init__(
        self,
        sets: ImageSets,
        transform: Transform | None = None,
        *,
        seed: int | None = 0,
        equal: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        store: Folder | None = None,
        on_skipped: OnSkipped | None = None,
    ) -> None:
        """seed: of the shuffle; None keeps the order of the sets. equal: every worker of every rank gets equally many
        sets, as synchronous training needs; the remainder is dropped, other sets in each epoch.
        rank, world_size: by default torch.distributed's, else those of the environment (RANK, WORLD_SIZE), else one.
        """
        if (rank is None) != (world_size is None) or (rank is not None and not 0 <= rank < (world_size or 0)):
            raise BadInput(f"rank {rank} of {world_size}: give both, the rank from 0")
        self.sets, self.transform, self.seed, self.equal = sets, transform, seed, equal
        self.on_skipped = on_skipped or warn
        self._rank, self._world_size, self._path = rank, world_size, store
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # persistent workers see a change
        sets.store(store)  # fails here rather than in a worker

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, from 0."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        rank, world_size = self._place()
        workers = worker.num_workers if worker else 1
        own = self._share(rank * workers + (worker.id if worker else 0), world_size * workers)
        for each, images in decoded_sets(self.sets.store(self._path), self.sets.read(own), self.on_skipped):
            yield _sample(each, images, self.transform)

    def _share(self, reader: int, readers: int) -> npt.NDArray[np.int64]:
        """The set numbers for one of `readers` workers: all compute the same order, and each takes its piece."""
        numbers = self._order()
        if self.equal:
            numbers = numbers[: len(numbers) - len(numbers) % readers]
        return np.array_split(numbers, readers)[reader]

    def _order(self) -> npt.NDArray[np.int64]:
        numbers = self.sets.numbers
        if self.seed is None:
            return numbers
        chance = np.random.default_rng([self.seed, int(self._epoch)])
        blocks = np.array_split(numbers, range(GROUP_SETS, len(numbers), GROUP_SETS))
        mixed = np.concatenate([blocks[block] for block in chance.permutation(len(blocks))])
        windows = [mixed[first : first + _WINDOW] for first in range(0, len(mixed), _WINDOW)]
        return np.concatenate([chance.permutation(window) for window in windows]) if windows else mixed

    def _place(self) -> tuple[int, int]:
        if self._rank is not None and self._world_size is not None:
            return self._rank, self._world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def torch_dataset(sets: ImageSets, transform: Transform | None = None, *, store: Folder | None = None) -> TorchSets:
    """A map-style dataset over the store's images: see TorchSets."""
    return TorchSets(sets, transform, store=store)


def torch_stream(
    sets: ImageSets,
    transform: Transform | None = None,
    *,
    seed: int | None = 0,
    equal: bool = False,
    store: Folder | None = None,
    on_skipped: OnSkipped | None = None,
) -> StreamedSets:
    """A streaming dataset, shared out among workers and ranks: see StreamedSets."""
    return StreamedSets(sets, transform, seed=seed, equal=equal, store=store, on_skipped=on_skipped)


def collate_sets(samples: Sequence[Sample]) -> Sample:
    """Collate sets of any sizes: the members of all, m together, and `sizes` int64 [sets].

    images: [m, 3, h, w], or a list of m; captions: m texts; row_ids: int64 [m]; other fields: one value a set.
    """
    images = [image for sample in samples for image in sample["images"]]
    names = ("set_id", "strategy", "level", "image_sim", "text_sim")
    return {
        "images": _stacked(images),
        "captions": [caption for sample in samples for caption in sample["captions"]],
        "row_ids": torch.cat([sample["row_ids"] for sample in samples]),
        "sizes": torch.tensor([len(sample["row_ids"]) for sample in samples]),
        **{name: _column([sample[name] for sample in samples]) for name in names},
    }


def _sample(each: ImageSet, images: list[Any], transform: Transform | None) -> Sample:
    return {
        "images": _stacked([transform(image) for image in images]) if transform else images,
        "captions": [caption or "" for caption in each.captions],
        "row_ids": torch.tensor(each.rows, dtype=torch.int64),
        "set_id": each.set_id,
        "strategy": each.strategy,
        "level": each.level,
        "image_sim": math.nan if each.image_sim is None else each.image_sim,
        "text_sim": math.nan if each.text_sim is None else each.text_sim,
    }


def _stacked(images: list[Any]) -> Any:
    tensors = all(isinstance(image, torch.Tensor) for image in images)
    return torch.stack(images) if tensors and len({image.shape for image in images}) == 1 else images


def _column(values: list[Any]) -> Any:
    return values if isinstance(values[0], str) else torch.tensor(values)
