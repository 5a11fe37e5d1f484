"""Image sets as a collection to read, filter, split and annotate: `ImageSets`.

    pairs = ImageSets.open("pairs").filter(strategy="overlap", min_level=4)
    splits = pairs.split({"train": 0.9, "test": 0.1}, seed=0)
    for pair in splits["train"].with_annotations(kind="comparison"): print(pair.captions, pair.annotations)

A filtered or split collection is a view: set numbers over the same files. A set with a row that its store has
forgotten is in no view, from the next time that the folder is opened. Formats for training are functions of
`mining.export`, such as `to_llava(sets, ...)`; this module must not import them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from index.files import exists, join
from index.store.embedding_store import EmbeddingStore
from mining.sets.added_annotations import check_added
from mining.sets.annotation import Annotation
from mining.sets.annotations import Annotations, append_annotations
from mining.sets.attached import Attached, Names, names_of
from mining.sets.decisions import Decisions, read_decisions
from mining.sets.filter_sets import Conditions, checked_bound, checked_names, checked_numbers, matching
from mining.sets.image_set import ImageSet, Member, sets_of
from mining.sets.layouts import Layout, read_layout
from mining.sets.near_images import NEAR_DUPLICATES, join_near_images
from mining.sets.same_image import images_of
from mining.sets.sources import Moved, Source, open_only_store
from mining.sets.split import STRADDLING, Split, short_splits, split_sets

__all__ = ["ImageSet", "ImageSets", "Member", "Split"]

Numbers = npt.NDArray[np.int64]
# Sets that are built at a time: about 1 MB for pairs.
_READ_SETS = 512
# The columns that `filter` has bounds for.
_BOUNDED = ("level", "difficulty", "image_sim", "text_sim")
# The decisions that the page of pairs writes beside the manifest.
DECISIONS = "decisions.jsonl"


class ImageSets:
    """Image sets on disk, or a view of some of them; open a folder with `ImageSets.open`."""

    def __init__(
        self,
        layout: Layout,
        numbers: Numbers | None = None,
        conditions: tuple[Conditions, ...] = (),
        attached: Attached | None = None,
    ) -> None:
        """numbers: the sets to choose from, in order (None: all). conditions: what they must meet."""
        self._layout, self._among, self._conditions, self._attached = layout, numbers, conditions, attached

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, moved: Moved = None) -> ImageSets:
        """Open a folder that `clipmine mine` or `clipmine import` wrote.

        moved: where a store is now that was moved, or several by the names of their sources; what a store has forgotten
        is not known where it cannot be opened. Raises BadInput when the folder has no image sets, or is unfinished,
        damaged or of a newer version.
        """
        layout = read_layout(path)
        layout.moved = moved
        return cls(layout)

    @property
    def path(self) -> str:
        return self._layout.path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest of the whole folder, not of the view: sources, seed, configuration, counts of each strategy."""
        return self._layout.manifest

    @property
    def sources(self) -> Mapping[str, Source]:
        """Where the images of the whole folder come from, by name."""
        return self._layout.sources

    @cached_property
    def numbers(self) -> Numbers:
        """int64 [n]: the numbers of these sets within the folder; computed at the first use."""
        whole = np.arange(self._layout.sets, dtype=np.int64)
        among = np.delete(whole, self._layout.hidden) if self._among is None else self._among
        return matching(self._layout, among, self._conditions) if self._conditions else among

    @property
    def forgotten(self) -> int:
        """How many sets of the folder are hidden, since a row of theirs was forgotten."""
        return len(self._layout.hidden)

    def __len__(self) -> int:
        return self._layout.sets if self._is_whole else len(self.numbers)

    def __iter__(self) -> Iterator[ImageSet]:
        return self.read(self.numbers)

    @overload
    def __getitem__(self, place: int) -> ImageSet: ...
    @overload
    def __getitem__(self, place: slice) -> ImageSets: ...
    def __getitem__(self, place: int | slice) -> ImageSet | ImageSets:
        if isinstance(place, slice):
            return self._view(self.numbers[place])
        return next(self.read(self.numbers[[place]]))

    def __reduce__(self) -> Any:
        chosen = None if self._is_whole else self.numbers
        if self._attached is not None:
            _ = self._layout.annotations  # listed before it travels, so that all workers see the same annotations
        return type(self), (self._layout, chosen, (), self._attached)

    def __repr__(self) -> str:
        hidden = f", {self.forgotten:,} with forgotten rows" if self.forgotten else ""
        return f"<{type(self).__name__} {self.path}: {len(self):,} of {self._layout.sets:,} sets{hidden}>"

    def read(self, numbers: Numbers) -> Iterator[ImageSet]:
        """Yield the sets of these numbers within the folder, in this order, with the view's annotations.

        Each group is decoded once a window of 512 sets.
        """
        for first in range(0, len(numbers), _READ_SETS):
            window = numbers[first : first + _READ_SETS]
            groups = self._layout.groups_of(window)
            order = np.argsort(groups, kind="stable")
            found: dict[int, ImageSet] = {}
            for run in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
                group = int(groups[run[0]])
                places = (window[run] - self._layout.first_of(group)).tolist()
                found.update(zip(run.tolist(), sets_of(self._layout.group(group), places), strict=True))
            sets = [found[place] for place in range(len(window))]
            yield from sets if self._attached is None else self._attached.attach(sets, window)

    def select(self, places: Sequence[int] | npt.NDArray[Any]) -> ImageSets:
        """A view of the sets at these places of this view, from 0, in this order; negative places count from the end.

        places: integers, or a bool for each set of this view. Raises BadInput for a place that the view does not have.
        """
        wanted = np.asarray(places)
        if wanted.dtype == np.bool_ and wanted.shape == (len(self),):
            return self._view(self.numbers[wanted])
        if wanted.ndim != 1 or (len(wanted) and wanted.dtype.kind not in "iu"):
            raise BadInput(f"{self.path}: places are integers, or one bool for each of the view's {len(self)} sets")
        outside = wanted[(wanted < -len(self)) | (wanted >= len(self))] if len(wanted) else wanted
        if len(outside):
            raise BadInput(f"{self.path}: has no place {outside[0]}; this view has {len(self)} sets")
        return self._view(self.numbers[wanted.astype(np.int64)])

    def with_annotations(
        self, kind: Names | None = None, annotator: Names | None = None, *, replaced: bool = False
    ) -> ImageSets:
        """The same sets with their annotations in `ImageSet.annotations`, in the order of writing.

        kind, annotator: only these, one or several; None for all. A correction counts as by its own annotator and by
        the one of what it corrects. replaced: also annotations that another one of their kind replaces (is its parent).
        Annotations that are appended later are seen by the views of a folder that is opened again. Raises BadInput for
        a kind or an annotator that no annotation of the folder has.
        """
        attached = Attached(self._layout, names_of(kind), names_of(annotator), replaced)
        self.annotations.check(attached.kinds, attached.annotators)
        known = "numbers" in self.__dict__
        among, conditions = (self.numbers, ()) if known else (self._among, self._conditions)
        return type(self)(self._layout, among, conditions, attached)

    @property
    def annotations(self) -> Annotations:
        """The annotations of the whole folder: `len`, `counts()` by kind and annotator."""
        return self._layout.annotations

    def chosen_annotations(self, kind: Names | None = None, annotator: Names | None = None) -> Attached:
        """The annotations that are asked for, as `with_annotations` takes them; this view's where both are None.

        `.places(sets.numbers)` gives their numbers, which `annotations.read` takes. Raises as `with_annotations` does.
        """
        chosen = self._attached or Attached(self._layout)
        if kind is not None or annotator is not None:
            chosen = Attached(self._layout, names_of(kind), names_of(annotator))
            self.annotations.check(chosen.kinds, chosen.annotators)
        return chosen

    def add_annotations(self, annotations: Iterable[Annotation], part: str) -> int:
        """Append a part of annotations to the folder; returns their number. Sets opened before do not see them.

        part: its name, as `append_annotations` takes it. Raises BadInput, and writes nothing, where `check_added` does.
        """
        rows = list(annotations)
        check_added(self.path, rows, self._layout.set_ids, self._layout.sizes)
        return append_annotations(self.path, rows, part)

    def filter(
        self,
        *,
        strategy: Names | None = None,
        level: int | Sequence[int] | None = None,
        min_level: int | None = None,
        max_level: int | None = None,
        min_difficulty: float | None = None,
        max_difficulty: float | None = None,
        split: Names | None = None,
        size: int | Sequence[int] | None = None,
        axis: Names | None = None,
        concept: Names | None = None,
        entity: Names | None = None,
        shared_nouns: Names | None = None,
        min_image_sim: float | None = None,
        max_image_sim: float | None = None,
        min_text_sim: float | None = None,
        max_text_sim: float | None = None,
        annotated: Names | None = None,
        annotator: Names | None = None,
        decisions: Decisions | None = None,
    ) -> ImageSets:
        """The sets that meet every condition, as a view that reads the sets' columns when it is used.

        None is no condition. With several values for one field a set must have one of them, so no set meets an empty
        list; with several shared nouns it must have all. A set without a similarity or difficulty meets no bound on it.
        annotated, annotator: sets with an annotation of such a kind, by such an annotator. decisions: skips the
        rejected sets. Raises BadInput for a strategy or a split of no set of the folder, a kind or annotator of no
        annotation, or a value of another type.
        """
        texts = {"strategy": strategy, "axis": axis, "concept": concept, "entity": entity, "split": split}
        named = {field: checked_names(field, value) for field, value in texts.items()}
        kinds, annotators = checked_names("annotated", annotated), checked_names("annotator", annotator)
        for field in ("strategy", "split"):
            known = self._layout.values(field) if named[field] else ()
            for name in named[field] or ():
                if name not in known:
                    there = ", ".join(known) or "none"
                    raise BadInput(f"{self.path}: has no sets of {field} {name!r:.100}; it has {there}")
        least = zip(_BOUNDED, (min_level, min_difficulty, min_image_sim, min_text_sim), strict=True)
        most = zip(_BOUNDED, (max_level, max_difficulty, max_image_sim, max_text_sim), strict=True)
        conditions = Conditions(
            values={**named, "level": checked_numbers("level", level), "size": checked_numbers("size", size)},
            least={field: checked_bound(f"min_{field}", value) for field, value in least},
            most={field: checked_bound(f"max_{field}", value) for field, value in most},
            nouns=checked_names("shared_nouns", shared_nouns) or (),
            numbers=self._annotated(kinds, annotators) if kinds is not None or annotators is not None else None,
            decisions=decisions.last if decisions is not None else {},
        )
        return type(self)(self._layout, self._among, (*self._conditions, conditions), self._attached)

    def kept(self) -> ImageSets:
        """The sets without those that a person rejected on the page of pairs (`decisions.jsonl` in the folder)."""
        path = join(self.path, DECISIONS)
        if not exists(path):
            return self
        decisions = read_decisions(path)
        return self.filter(decisions=decisions) if decisions.rejected else self

    def split(
        self,
        shares: Mapping[str, float],
        seed: int = 0,
        near_duplicates: float | None = NEAR_DUPLICATES,
        *,
        moved: Moved = None,
    ) -> Split[ImageSets]:
        """Cut into splits such as {"train": 0.8, "test": 0.2}, no image in two of them, by `mining.sets.split`.

        Shares are met where few images are in many sets. Otherwise sets are kept rather than shares met: a million
        random pairs over 400,000 images, five an image, cut 8 : 1 : 1, give 800,000, 15,000 and 15,000 with 170,000
        straddling; splits of the asked shares would lose half of the sets. `counts()` gives the numbers, and `notes`
        names a split with less than half of its share. 4 to 10 s and 1 GB a million pairs, and the time of
        `near_duplicate_groups`.

        near_duplicates: images with this cosine or more are one image, by the vectors of their stores; None for equal
        files only. Where a store cannot be opened, and for images of files, equal files alone are one image;
        `Split.notes` says so. moved: where the store is now, or several by the names of their sources. Raises BadInput
        for shares that do not add up to 1, a near_duplicates outside 0..1, or a name in `moved` that is no source.
        """
        if near_duplicates is not None and not 0 < near_duplicates <= 1:
            raise BadInput(f"near_duplicates {near_duplicates}: a cosine above 0 and up to 1, or None for equal files")
        images, owners, members = images_of(self._layout, self.numbers)
        notes: tuple[str, ...] = ("only equal files count as one image; near-duplicates may be in two splits",)
        if near_duplicates is not None:
            near = join_near_images(images, members, self.sources, self.path, near_duplicates, moved)
            images, notes = near.images, near.notes
        # A set without images gets one of its own.
        empty = np.flatnonzero(self._layout.sizes[self.numbers] == 0)
        images = np.concatenate([images, self._layout.sizes.sum() + self.numbers[empty]])
        found = split_sets(images, np.concatenate([owners, empty]), len(self), shares, seed)
        splits = {name: self._view(self.numbers[found == place]) for place, name in enumerate(shares)}
        split = Split(splits, self._view(self.numbers[found == STRADDLING]), notes)
        return replace(split, notes=(*notes, *short_splits(split.counts(), shares)))

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """The strategies of the whole folder, sorted by name."""
        return self._layout.values("strategy")

    def counts(self) -> dict[tuple[str, int], int]:
        """(strategy, level) -> number of sets, sorted."""
        table = (
            self.table(["strategy", "level"])
            .group_by(["strategy", "level"], use_threads=False)
            .aggregate([([], "count_all")])
        )
        rows = sorted((row["strategy"], row["level"], row["count_all"]) for row in table.to_pylist())
        return {(strategy, level): count for strategy, level, count in rows}

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Columns of `mining.sets.layouts.SETS_SCHEMA` for these sets, in order; reads the whole folder."""
        whole = self._layout.all_sets(columns)
        return whole if self._is_whole else whole.take(pa.array(self.numbers))

    def images(self) -> tuple[Numbers, Numbers]:
        """(image int64 [m], set int64 [m]): the image of each member, and the place of its set in this view.

        Images are numbered by their first appearance in the folder. Members with equal image files (sha256, where it is
        known) are one image, also where they come from different sources.
        """
        return images_of(self._layout, self.numbers)[:2]

    def store(self, path: str | os.PathLike[str] | None = None) -> EmbeddingStore:
        """Open the store that was mined, at `path` where it was moved.

        Raises StoreInvalid when it is another store, BadInput where the sets come from no store or from several.
        """
        return open_only_store(self.sources, self.path, path)

    @property
    def _is_whole(self) -> bool:
        """Whether these are all sets of the folder, in order."""
        return self._among is None and not self._conditions and not len(self._layout.hidden)

    def _view(self, numbers: Numbers) -> ImageSets:
        """The sets of these numbers within the folder."""
        return type(self)(self._layout, np.asarray(numbers, np.int64), (), self._attached)

    def _annotated(self, kinds: tuple[str, ...] | None, annotators: tuple[str, ...] | None) -> Numbers:
        if () in (kinds, annotators):  # one of none
            return np.zeros(0, np.int64)
        self.annotations.check(kinds or (), annotators or ())
        return Attached(self._layout, kinds or (), annotators or ()).annotated
