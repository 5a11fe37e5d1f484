"""Image sets for a person to review: a page at a time, filtered, with decisions and annotations. Without HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from index.files import exists
from index.store.embedding_store import EmbeddingStore
from mining.export.member_images import MemberImages
from mining.pages.annotated_sets import AnnotatedSets
from mining.pages.correction import CorrectionRequest, corrected
from mining.pages.member_thumbnail import NoImage, member_thumbnail
from mining.sets.annotation import Annotation
from mining.sets.decisions import Decision, DecisionsFile
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import read_layout
from mining.sets.sets_info import sets_without_folder
from mining.sets.sources import is_store, open_source_store, source_folder
from retrieval.service.images import ThumbnailSize

__all__ = ["NoSuchSet", "PairsQuery", "Review"]

# Sets whose text one request searches, in about a second. `next` in the answer says where the next request begins.
_LOOKED_AT = 10_000
# Set ids whose numbers are kept: a page's images are asked for right after the page.
_KEPT_IDS = 10_000

Numbers = npt.NDArray[np.int64]


class NoSuchSet(BadInput):
    """There is no set with that id, or no such annotation of it, or one of its rows was forgotten."""


@dataclass(frozen=True)
class PairsQuery:
    """The filters of a page of sets; None for no filter.

    text: searched without regard to case in captions, shared nouns, the concept, the entity and annotations. decision:
    reject, keep or undecided. kind, annotator: only sets with such an annotation, and of their annotations only these.
    replaced: annotations that were corrected count too. cursor: the `next` of the page before. limit: sets a page.
    """

    strategy: str | None = None
    level: int | None = None
    text: str | None = None
    decision: str | None = None
    cursor: int = 0
    limit: int = 20
    split: str | None = None
    min_difficulty: float | None = None
    max_difficulty: float | None = None
    kind: str | None = None
    annotator: str | None = None
    replaced: bool = False

    def met_by(self, each: ImageSet, decision: Decision | None) -> bool:
        """Whether a set meets `decision`, `kind`, `annotator` and `text`."""
        if self.decision is not None and (decision or "undecided") != self.decision:
            return False
        said = self.shown(each)
        if not said and (self.kind is not None or self.annotator is not None):
            return False
        wanted = (self.text or "").casefold()
        texts = (*each.captions, *each.shared_nouns, each.concept, each.entity)
        turns = (turn.text for annotation in said for turn in annotation.turns)
        return not wanted or any(wanted in text.casefold() for text in (*texts, *turns) if text)

    def shown(self, each: ImageSet) -> list[Annotation]:
        """The annotations of a set that are asked for."""
        gone = set() if self.replaced else _replaced(each)
        return [
            annotation
            for annotation in each.annotations
            if (annotation.kind, annotation.annotation_id) not in gone
            and self.kind in (None, annotation.kind)
            and (self.annotator is None or self.annotator in _annotators(each, annotation))
        ]


class Review:
    """The sets of a folder with the decisions about them and their annotations. Safe for threads."""

    def __init__(self, sets: ImageSets, store: EmbeddingStore, decisions: DecisionsFile) -> None:
        """sets: all sets of a folder. store: the store that is served; sources that are this store are read from it,
        also where the sets know it by another place."""
        self.sets, self.decisions = sets, decisions
        self.annotated = AnnotatedSets(sets)
        served = [name for name, each in sets.sources.items() if is_store(name, store, each.parts)]
        self.images = MemberImages(sets, moved=dict.fromkeys(served, store.path))
        self._stores: dict[str, EmbeddingStore | None] = dict.fromkeys(served, store)
        self._numbers: dict[str, int] = {}

    def page(self, query: PairsQuery) -> dict[str, Any]:
        """The fields of `schemas.PairsResponse`."""
        numbers = self._matching(query)
        rest = numbers[np.searchsorted(numbers, query.cursor) :][:_LOOKED_AT]
        found: list[dict[str, Any]] = []
        looked_at, after = 0, None
        for number, each in zip(rest.tolist(), self.annotated.read(rest), strict=False):
            if len(found) == query.limit:
                break
            looked_at += 1
            decision = self.decisions.of(each)
            if query.met_by(each, decision) and not self._is_forgotten(each):
                self._remember(each.set_id, number)
                found.append(_fields(each, query, decision))
        left = numbers[np.searchsorted(numbers, query.cursor) + looked_at :]
        if len(left):
            after = int(left[0])
        return {
            "sets": found,
            "next": after,
            "matching": len(numbers),
            "looked_at": looked_at,
            "hint": self._hint(query),
            **self.counts,
            "annotations": self.annotated.counts(),
        }

    def find(self, set_id: str) -> dict[str, Any]:
        """One set with its decision and all its annotations. Raises NoSuchSet."""
        each = self._find(set_id)
        return _fields(each, PairsQuery(replaced=True), self.decisions.of(each))

    def decide(self, set_id: str, decision: Decision) -> dict[str, Any]:
        """Append a decision to the file; it is on the disk when this returns. Returns it. Raises NoSuchSet."""
        each = self._find(set_id)
        self.decisions.add(each, decision, self.sets.sources)
        return {"set_id": set_id, "decision": decision}

    def correct(self, request: CorrectionRequest) -> dict[str, Any]:
        """Append a corrected annotation; it is on the disk when this returns. Returns it.

        Raises NoSuchSet where the set or the corrected annotation is not there, BadInput for what cannot be taken.
        """
        each = self._find(request.set_id)
        known = {annotation.annotation_id: annotation for annotation in each.annotations}
        if request.parent not in known:
            raise NoSuchSet(f"set {each.set_id!r:.100} has no annotation {request.parent!r:.100}")
        correction = corrected(request, each, known[request.parent])
        if correction.annotation_id not in known:
            self.annotated.add(correction)
        gone = (correction.kind, correction.annotation_id) in _replaced(each)
        return {"set_id": each.set_id, "annotation": {**correction.to_json(), "replaced": gone}}

    def thumbnail(self, set_id: str, position: int, size: ThumbnailSize) -> bytes:
        """A JPEG of the image at a position of a set. Raises NoSuchSet, or NoImage where it cannot be shown."""
        each = self._find(set_id)
        if not 0 <= position < each.size:
            raise NoImage(f"set {set_id!r:.100} has no image {position + 1}; it has {each.size}")
        return member_thumbnail(self.images, each.members[position], size)

    def sets_without_images(self) -> dict[str, int]:
        """Name -> sets of the sources without a store or a folder: images that are known by name or URL only."""
        return sets_without_folder(read_layout(self.sets.path))

    def missing_sources(self) -> dict[str, str]:
        """Name -> place of the sources whose folder or store is not there: their images are not shown."""
        sources = self.sets.sources
        return {name: str(sources[name].path) for name in sorted(sources) if not self._is_there(name)}

    @cached_property
    def counts(self) -> dict[str, Any]:
        """How many sets each strategy has at each level, and each split; the least and greatest difficulty."""
        columns = self._columns
        splits = pc.value_counts(columns["split"]).to_pylist()
        bounds = pc.min_max(columns["difficulty"]).as_py()
        return {
            "counts": [
                {"strategy": strategy, "level": level, "sets": count}
                for (strategy, level), count in self.sets.counts().items()
            ],
            "splits": [
                {"split": each["values"], "sets": each["counts"]}
                for each in sorted(splits, key=lambda each: str(each["values"]))
                if each["values"] is not None
            ],
            "difficulty": None if bounds["min"] is None else [round(bounds["min"], 6), round(bounds["max"], 6)],
        }

    @cached_property
    def _columns(self) -> pa.Table:
        return self.sets.table(["strategy", "level", "split", "difficulty"])

    @cached_property
    def _set_ids(self) -> pa.ChunkedArray:
        return self.sets.table(["set_id"])["set_id"]  # 20 bytes a set; searching a hundred million takes a second

    def _hint(self, query: PairsQuery) -> str | None:
        """Which filter asks for a name that the folder does not have, and the names that it has."""
        counts, splits, said = self.counts["counts"], self.counts["splits"], self.annotated.counts()
        for name, asked, rows in (
            ("strategy", query.strategy, counts),
            ("split", query.split, splits),
            ("kind", query.kind, said),
            ("annotator", query.annotator, said),
        ):
            there = sorted({row[name] for row in rows})
            if asked is not None and asked not in there:
                return f"there is no {name} {asked!r}; there is {', '.join(there) or 'none at all'}"
        return None

    def _matching(self, query: PairsQuery) -> Numbers:
        good = np.ones(len(self.sets), np.bool_)
        for name, value, compare in (
            ("strategy", query.strategy, pc.equal),
            ("level", query.level, pc.equal),
            ("split", query.split, pc.equal),
            ("difficulty", query.min_difficulty, pc.greater_equal),
            ("difficulty", query.max_difficulty, pc.less_equal),
        ):
            if value is not None:
                column = self._columns[name]
                good &= np.asarray(pc.fill_null(compare(column, pa.scalar(value, column.type)), False)).astype(np.bool_)
        numbers = self.sets.numbers[good]
        if query.kind is not None or query.annotator is not None:
            numbers = np.intersect1d(numbers, self.annotated.numbers(query.kind, query.annotator), assume_unique=True)
        return numbers

    def _find(self, set_id: str) -> ImageSet:
        number = self._numbers.get(set_id)
        if number is None:
            place = int(pc.index(self._set_ids, pa.scalar(set_id, pa.string())).as_py())
            if place < 0:
                raise NoSuchSet(f"there is no set {set_id!r:.100}")
            number = int(self.sets.numbers[place])
            self._remember(set_id, number)
        each = next(self.annotated.read(np.array([number])))
        if self._is_forgotten(each):
            raise NoSuchSet(f"there is no set {set_id!r:.100}")
        return each

    def _remember(self, set_id: str, number: int) -> None:
        if len(self._numbers) >= _KEPT_IDS:
            self._numbers = {}
        self._numbers[set_id] = number

    def _is_forgotten(self, each: ImageSet) -> bool:
        rows: dict[str, list[int]] = {}
        for member in each.members:
            if member.row_id is not None:
                rows.setdefault(member.source, []).append(member.row_id)
        for source, own in rows.items():
            store = self._store(source)
            if store is not None and bool(store.is_forgotten(own).any()):
                return True
        return False

    def _store(self, name: str) -> EmbeddingStore | None:
        """The store of this source; None where it cannot be opened, so that its rows and images are out of reach."""
        if name not in self._stores:
            try:
                self._stores[name] = open_source_store(self.sets.sources[name], self.sets.path)
            except (BadInput, KeyError, OSError):
                self._stores[name] = None
        return self._stores[name]

    def _is_there(self, name: str) -> bool:
        source = self.sets.sources[name]
        if source.kind == "store":
            return self._store(name) is not None
        folder = source_folder(source, self.sets.path)
        return folder is None or exists(folder)


def _fields(each: ImageSet, query: PairsQuery, decision: Decision | None) -> dict[str, Any]:
    """The set as docs/image-sets.schema.json describes it, with the annotations that were asked for."""
    gone = _replaced(each)
    said = [{**own.to_json(), "replaced": (own.kind, own.annotation_id) in gone} for own in query.shown(each)]
    return {**each.to_json(), "annotations": said, "decision": decision}


def _annotators(each: ImageSet, annotation: Annotation) -> set[str]:
    """Who an annotation of the set counts for: its annotator, and those of what it replaces."""
    by_name = {(own.kind, own.annotation_id): own for own in each.annotations}
    found: dict[str, str] = {}
    said: Annotation | None = annotation
    while said is not None and said.annotation_id not in found:
        found[said.annotation_id] = said.annotator.name
        said = by_name.get((said.kind, said.parent)) if said.parent is not None else None
    return set(found.values())


def _replaced(each: ImageSet) -> set[tuple[str, str]]:
    """(kind, id) of the annotations that are the parent of another one of their kind."""
    return {(annotation.kind, annotation.parent) for annotation in each.annotations if annotation.parent is not None}
