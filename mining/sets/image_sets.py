"""Image sets as a collection to read, filter and split: `ImageSets`, and `PairSet` where every set is a pair.

    pairs = ImageSets.open("pairs").filter(strategy="overlap", min_level=4)
    splits = pairs.split({"train": 0.9, "test": 0.1}, seed=0)
    for pair in splits["train"]: print(pair.captions, pair.reasons)

A filtered or split collection is a view: set numbers over the same files. Formats for training are functions of
`mining.export`, such as `to_llava(sets, ...)`; this module must not import them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput, StoreInvalid
from index.files import exists, is_local, join, local_path
from index.store.embedding_store import EmbeddingStore
from mining.sets.filter_sets import Conditions, matching
from mining.sets.image_set import ImageSet, Member, sets_of
from mining.sets.layouts import Layout, read_layout
from mining.sets.split import STRADDLING, split_sets
from retrieval.selection import store_identity

if TYPE_CHECKING:
    from mining.sets.decisions import Decisions

__all__ = ["ImageSet", "ImageSets", "Member", "PairSet", "Split"]

Numbers = npt.NDArray[np.int64]
Names = str | Sequence[str]
# Methods of earlier versions, by the function of `mining.export` that each became.
_EXPORTS = {
    **{name: name for name in ("to_llava", "to_messages", "to_datasets", "to_webdataset", "torch_stream")},
    "torch": "torch_dataset",
}
# Sets that are built at a time: about 1 MB for pairs.
_READ_SETS = 512


class ImageSets:
    """Image sets on disk, or a view of some of them; open a folder with `ImageSets.open`."""

    def __init__(self, layout: Layout, numbers: Numbers | None = None, conditions: tuple[Conditions, ...] = ()) -> None:
        """numbers: the sets to choose from, in order (None: all). conditions: what they must meet."""
        self._layout, self._among, self._conditions = layout, numbers, conditions

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> ImageSets:
        """Open a folder that `clipmine mine` wrote.

        Raises BadInput when it has no image sets, or is unfinished, damaged or of a newer version.
        """
        return cls(read_layout(path))

    @property
    def path(self) -> str:
        return self._layout.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest of the whole folder, not of the view: store, seed, configuration, counts of each strategy."""
        return self._layout.manifest

    @cached_property
    def numbers(self) -> Numbers:
        """int64 [n]: the numbers of these sets within the folder; computed at the first use."""
        among = np.arange(self._layout.sets, dtype=np.int64) if self._among is None else self._among
        return matching(self._layout, among, self._conditions) if self._conditions else among

    def __len__(self) -> int:
        return self._layout.sets if self._among is None and not self._conditions else len(self.numbers)

    def __iter__(self) -> Iterator[ImageSet]:
        return self.read(self.numbers)

    @overload
    def __getitem__(self, place: int) -> ImageSet: ...
    @overload
    def __getitem__(self, place: slice) -> ImageSets: ...
    def __getitem__(self, place: int | slice) -> ImageSet | ImageSets:
        if isinstance(place, slice):
            return self.take(self.numbers[place])
        return next(self.read(self.numbers[[place]]))

    if not TYPE_CHECKING:  # an attribute that does not exist stays an error of mypy

        def __getattr__(self, name: str) -> Any:
            if name in _EXPORTS:
                function = f"mining.export.{_EXPORTS[name]}"
                raise AttributeError(f"ImageSets.{name}(...) is now {function}(sets, ...)")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> Any:
        return type(self), (self._layout, self.numbers if self._conditions or self._among is not None else None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path}: {len(self):,} of {self._layout.sets:,} sets>"

    def read(self, numbers: Numbers) -> Iterator[ImageSet]:
        """Yield the sets of these numbers, in this order; each group is decoded once a window of 512 sets."""
        for first in range(0, len(numbers), _READ_SETS):
            window = numbers[first : first + _READ_SETS]
            groups = self._layout.groups_of(window)
            order = np.argsort(groups, kind="stable")
            found: dict[int, ImageSet] = {}
            for run in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
                group = int(groups[run[0]])
                places = (window[run] - self._layout.first_of(group)).tolist()
                found.update(zip(run.tolist(), sets_of(self._layout.group(group), places), strict=True))
            yield from (found[place] for place in range(len(window)))

    def take(self, numbers: Numbers) -> ImageSets:
        """A view of the sets of these numbers, in this order."""
        return type(self)(self._layout, np.asarray(numbers, np.int64))

    def filter(
        self,
        *,
        strategy: Names | None = None,
        level: int | Sequence[int] | None = None,
        min_level: int | None = None,
        max_level: int | None = None,
        size: int | Sequence[int] | None = None,
        axis: Names | None = None,
        concept: Names | None = None,
        entity: Names | None = None,
        shared_nouns: Names | None = None,
        min_image_sim: float | None = None,
        max_image_sim: float | None = None,
        min_text_sim: float | None = None,
        max_text_sim: float | None = None,
        decisions: Decisions | None = None,
    ) -> ImageSets:
        """The sets that meet every condition, as a view that reads nothing until it is used.

        With several values for one field a set must have one of them; with several shared nouns it must have all. A set
        without a similarity meets no bound on it. decisions: skips the rejected sets. Raises BadInput for a strategy
        that no set of the folder has.
        """
        known = self.strategies
        for name in [strategy] if isinstance(strategy, str) else strategy or ():
            if name not in known:
                raise BadInput(f"{self.path}: has no sets of strategy {name!r}; it has {', '.join(known) or 'none'}")
        named = {"axis": axis, "concept": concept, "entity": entity}
        conditions = Conditions(
            values={"strategy": strategy, "level": level, "size": size, **named},
            least={"level": min_level, "image_sim": min_image_sim, "text_sim": min_text_sim},
            most={"level": max_level, "image_sim": max_image_sim, "text_sim": max_text_sim},
            nouns=(shared_nouns,) if isinstance(shared_nouns, str) else tuple(shared_nouns or ()),
            rejected=decisions.rejected if decisions is not None else frozenset(),
        )
        return type(self)(self._layout, self._among, (*self._conditions, conditions))

    def split(self, shares: Mapping[str, float], seed: int = 0) -> Split:
        """Cut into splits such as {"train": 0.8, "test": 0.2}, no image in two of them, by `mining.sets.split`.

        Shares are met where few images are in many sets. Otherwise sets are kept rather than shares met: a million
        random pairs over 400,000 images, five an image, cut 8 : 1 : 1, give 800,000, 15,000 and 15,000 with 170,000
        straddling; splits of the asked shares would lose half of the sets. `counts()` gives the numbers. 4 to 10 s and
        1 GB a million pairs. BadInput for shares that do not add up to 1.
        """
        found = split_sets(*self.images(), len(self), shares, seed)
        splits = {name: self.take(self.numbers[found == place]) for place, name in enumerate(shares)}
        return Split(splits, self.take(self.numbers[found == STRADDLING]))

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """The strategies of the whole folder, sorted by name."""
        found: set[str] = set()
        for part in range(len(self._layout.parts)):
            found.update(self._layout.set_columns(part, ["strategy"])["strategy"].unique().to_pylist())
        return tuple(sorted(found))

    def counts(self) -> dict[tuple[str, int], int]:
        """(strategy, level) -> number of sets, sorted."""
        table = self.table(["strategy", "level"]).group_by(["strategy", "level"]).aggregate([([], "count_all")])
        rows = sorted((row["strategy"], row["level"], row["count_all"]) for row in table.to_pylist())
        return {(strategy, level): count for strategy, level, count in rows}

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Columns of `mining.sets.layouts.SETS_SCHEMA` for these sets, in order; reads the whole folder."""
        parts = range(len(self._layout.parts))
        whole = pa.concat_tables([self._layout.set_columns(part, columns) for part in parts])
        return whole if self._among is None and not self._conditions else whole.take(pa.array(self.numbers))

    def images(self) -> tuple[Numbers, Numbers]:
        """(image int64 [m], set int64 [m]): the image of each member, and the place of its set in this view.

        Rows with equal image files (sha256, where the store knows it) are one image, numbered by its smallest row id.
        """
        parts = range(len(self._layout.parts))
        whole = pa.concat_tables([self._layout.member_columns(part, ["row_id", "sha256"]) for part in parts])
        sizes = pa.concat_tables([self._layout.set_columns(part, ["size"]) for part in parts])["size"].to_numpy()
        places = np.full(len(sizes), -1, np.int64)
        places[self.numbers] = np.arange(len(self.numbers))
        owners = np.repeat(places, sizes)
        images = _one_row_an_image(whole)
        return images[owners >= 0], owners[owners >= 0]

    def store(self, path: str | os.PathLike[str] | None = None) -> EmbeddingStore:
        """Open the store that was mined, at `path` where it was moved. Raises StoreInvalid when it is another store."""
        recorded = self.manifest.get("store")
        if not recorded:
            raise BadInput(f"{self.path}: does not say which store it was mined from, so its images cannot be found")
        where = os.fspath(path) if path is not None else str(recorded["path"])
        if path is None and recorded.get("relative") and is_local(self.path):
            beside = os.path.normpath(local_path(self.path).absolute() / str(recorded["relative"]))
            where = beside if exists(join(beside, "manifest.json")) else where
        store = EmbeddingStore.open(where)
        if store_identity(store, parts=recorded["parts"]) != recorded["identity"]:
            raise StoreInvalid(
                f"{store.path}: is not the store that {self.path} was mined from; name the right one, or mine again"
            )
        return store


@dataclass(frozen=True)
class Split(Mapping[str, ImageSets]):
    """The splits by name; `straddling` has the sets with images in different splits, which belong to none."""

    splits: Mapping[str, ImageSets]
    straddling: ImageSets

    def __getitem__(self, name: str) -> ImageSets:
        return self.splits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def __repr__(self) -> str:
        return f"Split({', '.join(f'{name}: {count:,}' for name, count in self.counts().items())})"

    def counts(self) -> dict[str, int]:
        """Sets in each split, and those in none as "straddling"; they add up to the sets that were split."""
        return {**{name: len(sets) for name, sets in self.splits.items()}, "straddling": len(self.straddling)}


def _one_row_an_image(members: pa.Table) -> Numbers:
    rows: Numbers = members["row_id"].to_numpy()
    # -1 for null, as dictionary codes start at 0: rows of unknown hash are never merged.
    codes = members["sha256"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    known = codes >= 0
    if not known.any():
        return rows
    smallest = np.full(codes.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, codes[known], rows[known])
    return np.where(known, smallest[codes], rows)


class PairSet(ImageSets):
    """Image sets of two members each."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> PairSet:
        """As ImageSets.open. Raises BadInput when a set has more than two members (filter(size=2) gives the pairs)."""
        pairs = cls(read_layout(path))
        sizes = pairs.table(["size"])["size"].to_numpy()
        if (sizes != 2).any():
            raise BadInput(
                f"{pairs.path}: {int((sizes != 2).sum())} of its sets have more than two members; open them with "
                "ImageSets.open(...), whose .filter(size=2) gives the pairs"
            )
        return pairs
