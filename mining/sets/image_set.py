"""One image set and its members, as plain data and as JSON (docs/image-sets.schema.json)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from index.errors import BadInput
from mining.sets.layouts import Group

__all__ = ["ImageSet", "Member", "sets_of"]


@dataclass(frozen=True)
class Member:
    """One image of a set: its `position` from 0, its row in the store, and what the store's metadata says about it.

    offset, bytes: where the image file begins in the shard, and its length. sha256: of the image file, hex. entity: the
    named individual in the image. scene: the ground truth of a drawn image. None where unknown.
    """

    position: int
    row_id: int
    key: str | None
    shard: str | None
    offset: int | None
    bytes: int | None
    caption: str | None
    sha256: str | None
    entity: str | None
    scene: dict[str, Any] | None


@dataclass(frozen=True)
class ImageSet:
    """Two or more images that belong together, in order, and why; a pair has two.

    set_id: the row ids joined by _. level: the number of shared nouns (overlap), of axes that differ (attribute), 0
    (random), or a band of similarity from 1 (all others). image_sim, text_sim: cosine similarity, for more than two
    members the mean over their pairs; None where unknown. axis, concept, entity: None where they do not apply. reasons:
    sentences that a person can check.
    """

    set_id: str
    strategy: str
    level: int
    image_sim: float | None
    text_sim: float | None
    shared_nouns: tuple[str, ...]
    axis: str | None
    concept: str | None
    entity: str | None
    reasons: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def rows(self) -> tuple[int, ...]:
        """The members' row ids in their order."""
        return tuple(member.row_id for member in self.members)

    @property
    def captions(self) -> tuple[str | None, ...]:
        return tuple(member.caption for member in self.members)

    def to_json(self) -> dict[str, Any]:
        """The set as docs/image-sets.schema.json describes it."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "members"}
        own |= {"size": self.size, "shared_nouns": list(self.shared_nouns), "reasons": list(self.reasons)}
        members = [{field.name: getattr(member, field.name) for field in fields(member)} for member in self.members]
        return {**own, "members": members}


def sets_of(group: Group, places: list[int]) -> Iterator[ImageSet]:
    """The sets at `places` of a group, in that order. BadInput where a set's id does not name its members."""
    rows = group.sets.take(pa.array(places, pa.int64())).to_pylist()
    bounds = [(int(group.starts[place]), int(group.starts[place + 1])) for place in places]
    chosen = [member for first, last in bounds for member in range(first, last)]
    members = iter(group.members.drop_columns("set_id").take(pa.array(chosen, pa.int64())).to_pylist())
    for row, (first, last) in zip(rows, bounds, strict=True):
        own = tuple(_member(next(members)) for _ in range(first, last))
        # Exports name files after the id, so a tampered one must not get through.
        if row["set_id"] != "_".join(str(member.row_id) for member in own):
            raise BadInput(f"set {row['set_id']!r:.100}: its id does not name its members; mine again elsewhere")
        yield ImageSet(
            set_id=row["set_id"],
            strategy=row["strategy"],
            level=row["level"],
            image_sim=_cosine(row["image_sim"]),
            text_sim=_cosine(row["text_sim"]),
            shared_nouns=tuple(row["shared_nouns"] or ()),
            axis=row["axis"],
            concept=row["concept"],
            entity=row["entity"],
            reasons=tuple(row["reasons"] or ()),
            members=own,
        )


def _member(row: dict[str, Any]) -> Member:
    return Member(**{**row, "scene": json.loads(row["scene"]) if row["scene"] else None})


def _cosine(value: float | None) -> float | None:
    """Rounded to six decimals, which is finer than float16 embeddings resolve; None for NaN."""
    return None if value is None or math.isnan(value) else round(value, 6)
