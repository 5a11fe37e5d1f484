"""The answers and requests of the routes of image sets, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AnnotationCount", "Count", "DecisionRequest", "PairsResponse", "SplitCount"]


class Count(BaseModel):
    """How many sets a strategy has at a level."""

    strategy: str
    level: int
    sets: int


class SplitCount(BaseModel):
    """How many sets a split has."""

    split: str
    sets: int


class AnnotationCount(BaseModel):
    """How many annotations of a kind an annotator wrote, replaced ones included."""

    kind: str
    annotator: str
    count: int


class PairsResponse(BaseModel):
    """A page of sets, and what all sets of the folder have, whatever the filters."""

    sets: list[dict[str, Any]] = Field(description="as docs/image-sets.schema.json has them, with `decision`")
    next: int | None = Field(description="the cursor of the next page; null at the end")
    matching: int = Field(description="sets that meet the filters, before those on text and decision")
    looked_at: int = Field(description="sets whose text was searched for this page")
    hint: str | None = Field(description="the first filter that names what the folder does not have; null for none")
    counts: list[Count]
    splits: list[SplitCount] = Field(description="sets that belong to no split are not counted")
    difficulty: tuple[float, float] | None = Field(description="the least and the greatest; null where none is known")
    annotations: list[AnnotationCount]


class DecisionRequest(BaseModel):
    """A person's decision about a set; `keep` undoes a rejection."""

    model_config = ConfigDict(extra="forbid")

    set_id: str = Field(max_length=2_000)
    decision: Literal["reject", "keep"]
