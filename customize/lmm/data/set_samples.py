"""Image sets as sources: the conversations of their annotations, or CaD-VI's conversation made of comparisons.

SetSource("pairs", kind="question", split="train")
SetSource("pairs", cad=("commonalities", "differences", "choice"))      # CaD-VI's two turns
TarSource("tars")                                                        # what `to_webdataset` wrote
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from customize.lmm.data.sample import ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import Numbers, PlacedImage
from index.errors import BadInput, ClipmineError
from index.files import hash_json, join
from mining.annotate.conversation import cad_turns, last_usable
from mining.export.member_images import MemberImages
from mining.export.sample import Sample
from mining.export.samples import Samples
from mining.export.skipped import SkippedSet
from mining.export.tar_samples import TarSamples
from mining.export.turns import Question, Turns
from mining.sets.annotation import Annotation, Turn
from mining.sets.attached import Names
from mining.sets.image_set import ImageSet, Member
from mining.sets.image_sets import ImageSets
from mining.sets.sources import Moved

__all__ = ["CadAnswer", "SetSource", "TarSource"]

WITHOUT_ANSWER = "without an answer"  # what `mining.export` says of a set whose answer function gives None
CAD_LACKING = "lacks a comparison that can be used"
CHOICE_LACKING = "lacks captions that can be told apart"
# The fields of a member that reading its image takes.
_PLACE = ("source", "row_id", "key", "shard", "offset", "bytes", "path", "url", "sha256")


class CadAnswer:
    """CaD-VI's conversation of a set whose comparisons are among its `annotations`.

    The last comparison that has what the parts teach is taken. lacking: why a set has no conversation.
    """

    def __init__(self, parts: Collection[str], seed: int = 0) -> None:
        """Raises BadInput for an unknown part, or parts that exclude each other."""
        self.parts, self.seed = tuple(parts), seed
        cad_turns(ImageSet("", "", ()), None, parts=self.parts)
        self.alone = set(self.parts) == {"choice"}  # no comparison is needed
        self.lacking = CHOICE_LACKING if self.alone else CAD_LACKING

    def __call__(self, each: ImageSet) -> Turns | None:
        return cad_turns(each, self.comparison(each.annotations), parts=self.parts, seed=self.seed) or None

    def comparison(self, annotations: Sequence[Annotation]) -> Annotation | None:
        """The one of a set's annotations, in the order of writing, that the conversation is made of."""
        return None if self.alone else last_usable(annotations, self.parts)


class SetSource:
    """The samples of a folder of image sets."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        moved: Moved = None,
        kind: Names | None = None,
        annotator: Names | None = None,
        split: Names | None = None,
        strategy: Names | None = None,
        cad: Collection[str] | None = None,
        question: Question = None,
        rejected: bool = False,
        seed: int = 0,
    ) -> None:
        """kind, annotator: of the annotations; with `cad` of the comparisons, by default kind `comparison`, and for the
        part `note` also `difference_note`. Of several comparisons of a set the last that can be used is taken.

        cad: parts of CaD-VI's conversation (`mining.annotate.conversation.CAD_PARTS`), one sample a set. split,
        strategy: only these sets. moved: where the images' sources are now. question, rejected: as
        `mining.export.samples.Choice` has them. seed: of the draws of `cad`. Raises BadInput where the folder has no
        image sets, or none of these annotations.
        """
        self.name = name or Path(os.fspath(path)).name
        sets = ImageSets.open(path)
        self._images = MemberImages(sets, moved)
        if split is not None or strategy is not None:
            sets = sets.filter(split=split, strategy=strategy)
        self._cad = None if cad is None else CadAnswer(cad, seed)
        if self._cad is None:
            self._samples = Samples(sets, kind=kind, annotator=annotator, question=question, rejected=rejected)
        else:
            sets = _with_comparisons(sets, self._cad.parts, kind, annotator)
            self._samples = Samples(sets, answer=self._cad, question=question, rejected=rejected)
        self._lacking = None if self._cad is None else self._cad.lacking
        self._wording = [sorted(cad or ()), seed, str(question), str(kind), str(annotator)]
        if not len(self._samples):
            raise BadInput(f"{self._samples.sets.path}: no set in it gives a sample; choose other annotations or sets")

    def __len__(self) -> int:
        return len(self._samples)

    def digest(self) -> str:
        """A hash of the sets and of the annotations that the samples are made of, not of others in the folder."""
        sets = self._samples.sets
        said = hashlib.sha256("\n".join(sets.table(["set_id"])["set_id"].to_pylist()).encode())
        if self._cad is not None and not self._cad.alone:
            ids = sets.annotations.columns(["annotation_id"])["annotation_id"]
            said.update("\n".join(ids.take(pa.array(self._comparisons(self._cad))).to_pylist()).encode())
        return hash_json([self._samples.digest(), self._wording, said.hexdigest()])

    def _comparisons(self, answer: CadAnswer) -> Numbers:
        """The numbers of the annotations that conversations are made of, by set. One that is alone counts unread."""
        sets = self._samples.sets
        places, numbers = sets.chosen_annotations().places(sets.numbers)
        last = np.append(places[1:] != places[:-1], True) if len(places) else np.zeros(0, np.bool_)
        for run in np.split(np.arange(len(places)), np.flatnonzero(last[:-1]) + 1):
            if len(run) > 1:
                said = sets.annotations.read(numbers[run])
                used = answer.comparison(said)
                last[run] = [each is used for each in said]
        used_numbers: Numbers = numbers[last]
        return used_numbers

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        for found in self._samples.read(numbers):
            if isinstance(found, SkippedSet):
                yield _skipped(found, self.name, self._lacking)
            else:
                yield _as_sample(found, self.name, [self._member(member) for member in found.set.members])

    def image(self, key: str, place: str) -> ImageFile:
        member = Member(position=0, **json.loads(place))
        return PlacedImage(key, lambda: _read(self._images, member), place)

    def _member(self, member: Member) -> ImageFile:
        known = {name: getattr(member, name) for name in _PLACE}
        place = json.dumps({name: value for name, value in known.items() if value is not None})
        # A store's name is unique, the name of another source is not.
        own = member.ref if member.row_id is not None else join(self._samples.sets.path, member.ref)
        return PlacedImage(member.sha256 or own, lambda: _read(self._images, member), place)


class TarSource:
    """The samples of the tars that `mining.export.to_webdataset` wrote."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        kind: Names | None = None,
        annotator: Names | None = None,
        cad: Collection[str] | None = None,
        question: Question = None,
        seed: int = 0,
    ) -> None:
        """The arguments are those of SetSource. With `cad` the tars need the comparisons among their annotations."""
        self._arguments: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "annotator": annotator,
            "cad": cad,
            "question": question,
            "seed": seed,
        }
        self._folder = os.fspath(folder)
        self.name = name or Path(self._folder).name
        if cad is None:
            self._samples = TarSamples(folder, kind=kind, annotator=annotator, question=question)
        else:
            own = CadAnswer(cad, seed)
            answer = _OfKind(own, kind or ("comparison", "difference_note"), annotator)
            self._samples = TarSamples(folder, answer=answer, question=question)
        self._lacking = None if cad is None else own.lacking
        self._wording = [sorted(cad or ()), seed, str(question), str(kind), str(annotator)]
        # Two images of one sample, and neighbours, are then read from a tar once.
        self._held = lru_cache(maxsize=8)(self._files)

    def __len__(self) -> int:
        return len(self._samples)

    def digest(self) -> str:
        return hash_json([self._samples.digest(), self._wording])

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        for number, found in zip(numbers.tolist(), self._samples.read(numbers), strict=True):
            if isinstance(found, SkippedSet):
                yield _skipped(found, self.name, self._lacking)
                continue
            sample, files = found
            images = [
                self.image(member.sha256 or hashlib.sha256(file).hexdigest(), f"{number}/{member.position}")
                for member, file in zip(sample.set.members, files, strict=True)
            ]
            yield _as_sample(sample, self.name, images)

    def image(self, key: str, place: str) -> ImageFile:
        number, _, position = place.partition("/")
        return PlacedImage(key, lambda: self._held(int(number))[int(position)], place)

    def __reduce__(self) -> Any:
        return _open_tars, (self._folder, self._arguments)

    def _files(self, number: int) -> list[bytes]:
        found = next(self._samples.read(np.array([number])))
        if isinstance(found, SkippedSet):
            raise ClipmineError(f"{self._folder}: {found}")
        return found[1]


class _OfKind:
    """An answer function that sees only the annotations of some kinds and annotators."""

    def __init__(self, answer: CadAnswer, kind: Names, annotator: Names | None) -> None:
        self._answer = answer
        self._kinds = (kind,) if isinstance(kind, str) else tuple(kind)
        self._annotators = (annotator,) if isinstance(annotator, str) else annotator

    def __call__(self, each: ImageSet) -> Turns | None:
        own = [
            said
            for said in each.annotations
            if said.kind in self._kinds and (self._annotators is None or said.annotator.name in self._annotators)
        ]
        return self._answer(replace(each, annotations=tuple(own)))


def _open_tars(folder: str, arguments: dict[str, Any]) -> TarSource:
    return TarSource(folder, **arguments)


def _with_comparisons(sets: ImageSets, cad: Collection[str], kind: Names | None, annotator: Names | None) -> ImageSets:
    """The sets with the annotations that the parts of the conversation need; all sets, also those without."""
    if set(cad) == {"choice"} and kind is None and annotator is None:
        return sets
    if kind is None:
        there = {known for known, _ in sets.annotations.counts()}
        wanted = ("comparison", "difference_note") if "note" in cad else ("comparison",)
        kind = tuple(each for each in wanted if each in there) or wanted
    return sets.with_annotations(kind, annotator)


def _as_sample(sample: Sample, source: str, images: list[ImageFile]) -> LmmSample:
    """The sample with the images that its turns show alone."""
    shown = sorted(set(sample.shown))
    places = {position: place for place, position in enumerate(shown)}
    turns = tuple(
        Turn(turn.role, tuple(places[part] if isinstance(part, int) else part for part in turn.parts))
        for turn in sample.turns
    )
    return LmmSample(sample.sample_id, source, turns, tuple(images[position] for position in shown))


def _read(images: MemberImages, member: Member) -> bytes:
    found = images.read(member)
    if isinstance(found, str):
        raise ClipmineError(f"image {member.ref}: {found}")
    return found


def _skipped(found: SkippedSet, source: str, lacking: str | None) -> SkippedSample:
    """lacking: the reason of a set for which the conversation of `cad` could not be made."""
    if lacking is not None and found.position is None and found.reason == WITHOUT_ANSWER:
        return SkippedSample(found.set_id, source, lacking)
    where = "" if found.position is None else f"image {found.position + 1}, {found.ref}"
    return SkippedSample(found.set_id, source, found.reason, where)
