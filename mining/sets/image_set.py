"""One image set and its members, as plain data and as JSON (docs/image-sets.schema.json)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mining.sets.annotation import Annotation
from mining.sets.layouts import Group

__all__ = ["ImageSet", "Member", "sets_of"]


@dataclass(frozen=True)
class Member:
    """One image of a set: its `position` from 0, where the image is, and what its source says about it.

    source: the name of a source in the folder's manifest. row_id: the row of that store; None for a foreign image.
    shard, offset, bytes: the file (a tar, or the image itself) within the source's folder that holds the image, where
    the image begins in it and its length. path: of a foreign image's own file within the source's folder. url: where
    the image was published. caption: the caption that the set's reasons speak of; captions: all that are known. sha256:
    of the image file, hex. extra: whatever else the source's metadata had, such as the truth of a drawn image. None, or
    empty, where unknown.
    """

    position: int
    source: str
    row_id: int | None = None
    key: str | None = None
    shard: str | None = None
    offset: int | None = None
    bytes: int | None = None
    path: str | None = None
    url: str | None = None
    caption: str | None = None
    captions: tuple[str, ...] = ()
    sha256: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """The image's name over all sets: `store-1f0c2a…/12` for a row, `SOURCE/PATH`, `/URL` or `/TAR:KEY` for others.

        `mining.sets.same_image.own_names` gives the same for whole columns.
        """
        names: tuple[str | int | None, ...] = (self.row_id, self.path, self.url)
        if self.shard is not None:
            own = self.key if self.key is not None else self.offset
            names = (*names, f"{self.shard}:{'' if own is None else own}")
        known = (name for name in (*names, self.key, self.sha256) if name is not None)
        return f"{self.source}/{next(known, '')}"

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "captions": list(self.captions), "extra": dict(self.extra)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Member:
        """The member that `to_json` gave. Raises KeyError or TypeError for anything else."""
        return cls(**{**value, "captions": tuple(value["captions"])})


@dataclass(frozen=True)
class ImageSet:
    """Images that belong together, in order, and why; a pair has two, a record of text alone none.

    set_id: unique in the folder, without a meaning. strategy: which strategy found the set, or which collection it was
    imported from. level, difficulty: docs/mining.md says for each strategy what they measure; difficulty is 0 (easy to
    tell apart) to 1, None where unknown. split: `train` or `held-out` where images were held out before mining; the
    published split of an imported set.
    image_sim, text_sim: cosine similarity, for more than two members the mean over their pairs; None where unknown.
    axis, concept, entity: None where they do not apply. reasons: sentences that a person can check. extra: JSON data.
    annotations: those that `ImageSets.with_annotations` chose; () in a view without it, whatever the folder has.
    """

    set_id: str
    strategy: str
    members: tuple[Member, ...]
    level: int = 0
    difficulty: float | None = None
    split: str | None = None
    image_sim: float | None = None
    text_sim: float | None = None
    shared_nouns: tuple[str, ...] = ()
    axis: str | None = None
    concept: str | None = None
    entity: str | None = None
    reasons: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def rows(self) -> tuple[int | None, ...]:
        """The members' row ids in their order; None for a foreign image."""
        return tuple(member.row_id for member in self.members)

    @property
    def refs(self) -> tuple[str, ...]:
        """The members' names, sorted: they tell whether two sets have the same images. `set/ID` for a set of none."""
        return tuple(sorted(member.ref for member in self.members)) or (f"set/{self.set_id}",)

    @property
    def captions(self) -> tuple[str | None, ...]:
        return tuple(member.caption for member in self.members)

    def to_json(self) -> dict[str, Any]:
        """The set as docs/image-sets.schema.json describes it."""
        own = {**self.__dict__, "size": self.size, "extra": dict(self.extra)}
        own |= {"shared_nouns": list(self.shared_nouns), "reasons": list(self.reasons)}
        own["members"] = [member.to_json() for member in self.members]
        own["annotations"] = [each.to_json() for each in self.annotations]
        return own

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ImageSet:
        """The set that `to_json` gave. Raises KeyError or TypeError for anything else."""
        fields = {name: own for name, own in value.items() if name != "size"}
        for name in ("shared_nouns", "reasons"):
            fields[name] = tuple(fields[name])
        fields["members"] = tuple(Member.from_json(each) for each in fields["members"])
        fields["annotations"] = tuple(Annotation.from_json(value["set_id"], said) for said in fields["annotations"])
        return cls(**fields)


def sets_of(group: Group, places: list[int]) -> Iterator[ImageSet]:
    """The sets at `places` of a group, in that order, without annotations."""
    rows = group.sets.take(pa.array(places, pa.int64())).to_pylist()
    bounds = [(int(group.starts[place]), int(group.starts[place + 1])) for place in places]
    chosen = [member for first, last in bounds for member in range(first, last)]
    members = iter(group.members.drop_columns("set_id").take(pa.array(chosen, pa.int64())).to_pylist())
    for row, (first, last) in zip(rows, bounds, strict=True):
        own = tuple(_member(next(members)) for _ in range(first, last))
        yield ImageSet(
            set_id=row["set_id"],
            strategy=row["strategy"],
            members=own,
            level=row["level"] or 0,
            difficulty=_rounded(row["difficulty"]),
            split=row["split"],
            image_sim=_rounded(row["image_sim"]),
            text_sim=_rounded(row["text_sim"]),
            shared_nouns=tuple(row["shared_nouns"] or ()),
            axis=row["axis"],
            concept=row["concept"],
            entity=row["entity"],
            reasons=tuple(row["reasons"] or ()),
            extra=_object(row["extra"]),
        )


def _member(row: dict[str, Any]) -> Member:
    return Member(**{**row, "captions": tuple(row["captions"] or ()), "extra": _object(row["extra"])})


def _object(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {"value": value}


def _rounded(value: float | None) -> float | None:
    """Rounded to six decimals, which is finer than float16 embeddings resolve; None for NaN."""
    return None if value is None or math.isnan(value) else round(value, 6)
