"""The annotations that the page of pairs shows, together with the corrections that were made since it was opened."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from index.files import is_local
from mining.sets.annotation import Annotation
from mining.sets.corrections import CorrectionsFile
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from mining.sets.recent import Recent

__all__ = ["AnnotatedSets"]

Numbers = npt.NDArray[np.int64]

# Combinations of kind and annotator whose sets are kept: 8 bytes a set each.
_KEPT_FILTERS = 16


class AnnotatedSets:
    """The sets of a folder with all their annotations, replaced ones too. Safe for threads."""

    def __init__(self, sets: ImageSets) -> None:
        """sets: all sets of a folder. Corrections are appended to that folder, if it is local.

        Raises BadInput where an annotation is damaged, or of a set that is not there.
        """
        self._sets = sets.with_annotations(replaced=True)
        self._file = CorrectionsFile(sets.path) if is_local(sets.path) else None
        self._added: dict[str, tuple[Annotation, ...]] = {}  # by set id, in the order of writing
        self._found = Recent[tuple[str | None, str | None], Numbers](_KEPT_FILTERS)
        self._lock = threading.Lock()
        next(
            self.read(sets.numbers[:1]), None
        )  # reads the index of annotations, so that a damaged one is an error at the start

    def read(self, numbers: Numbers) -> Iterator[ImageSet]:
        """Yield the sets of these numbers within the folder, in this order, each with its annotations."""
        for each in self._sets.read(numbers):
            added = self._added.get(each.set_id)
            yield each if added is None else replace(each, annotations=(*each.annotations, *added))

    def numbers(self, kind: str | None, annotator: str | None) -> Numbers:
        """int64 [n], ascending: the sets with an annotation, replaced or not, of this kind by this annotator."""
        asked = (kind, annotator)

        def annotated() -> Numbers:
            kinds, annotators = ((name,) if name is not None else () for name in asked)
            return np.unique(self._sets.annotations.index(self._set_ids, kinds, annotators, replaced=True)[0])

        found = self._found.get(asked, annotated)
        added = [set_id for set_id, own in dict(self._added).items() if any(_is_of(each, *asked) for each in own)]
        places = pc.index_in(pa.array(added, pa.string()), value_set=self._set_ids)
        return np.union1d(found, places.to_numpy(zero_copy_only=False)).astype(np.int64)

    def counts(self) -> list[dict[str, Any]]:
        """The annotations of the folder by kind and annotator, replaced ones too: kind, annotator, count."""
        found = Counter(self._sets.annotations.counts())
        found.update((each.kind, each.annotator.name) for own in dict(self._added).values() for each in own)
        return [{"kind": kind, "annotator": name, "count": count} for (kind, name), count in sorted(found.items())]

    def add(self, correction: Annotation) -> None:
        """Append a correction to the folder; it is on the disk when this returns. The same one is written once.

        Raises BadInput where the folder is remote, DiskFull or OSError where it can't be written.
        """
        if self._file is None:
            raise BadInput(f"{self._sets.path}: is on no local disk, so nothing can be corrected; copy it here")
        with self._lock:
            own = self._added.get(correction.set_id, ())
            if correction.annotation_id in {each.annotation_id for each in own}:
                return
            self._file.add(correction)
            self._added[correction.set_id] = (*own, correction)

    @cached_property
    def _set_ids(self) -> pa.Array:
        return self._sets.table(["set_id"])["set_id"].combine_chunks()


def _is_of(each: Annotation, kind: str | None, annotator: str | None) -> bool:
    return kind in (None, each.kind) and annotator in (None, each.annotator.name)
