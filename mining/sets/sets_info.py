"""What a folder of image sets holds: how many sets, annotations and decisions, and which sources are there."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.files import exists, join, read_bytes
from mining.sets.decisions import read_decisions
from mining.sets.image_sets import DECISIONS, ImageSets
from mining.sets.layouts import FORMAT, Layout, read_layout
from mining.sets.sources import Source, source_folder

__all__ = [
    "AnnotationCount",
    "SetsInfo",
    "SourceInfo",
    "StrategyCount",
    "holds_image_sets",
    "sets_info",
    "sets_without_folder",
]


@dataclass(frozen=True)
class StrategyCount:
    """How many sets a strategy (or an imported collection) has at a level."""

    strategy: str
    level: int
    sets: int


@dataclass(frozen=True)
class SourceInfo:
    """A source of images. path: its store or folder, None where the images are known by name or URL only.

    is_there: whether the path exists. sets: how many sets have an image without a path; 0 for a source with one.
    """

    name: str
    kind: str
    path: str | None
    is_there: bool
    sets: int


@dataclass(frozen=True)
class AnnotationCount:
    """How many annotations of a kind an annotator wrote, those that were corrected included."""

    kind: str
    annotator: str
    count: int


@dataclass(frozen=True)
class SetsInfo:
    """The content of a folder of image sets. images: members of all sets, so an image counts once in every set.

    rejected, kept: sets by the last decision on them in the folder's decisions.jsonl. forgotten: sets that are hidden,
    since a row of theirs was forgotten; strategies and splits do not count them.
    """

    path: str
    sets: int
    images: int
    strategies: tuple[StrategyCount, ...]
    splits: dict[str, int]
    sources: tuple[SourceInfo, ...]
    annotations: tuple[AnnotationCount, ...]
    rejected: int
    kept: int
    forgotten: int = 0


def holds_image_sets(path: str) -> bool:
    """Whether the folder has the manifest of image sets, of any version."""
    name = join(path, "manifest.json")
    if not exists(name):
        return False
    try:
        manifest = json.loads(read_bytes(name))
    except ValueError:
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def sets_info(path: str) -> SetsInfo:
    """Describe a folder of image sets. Raises BadInput where it is unfinished or damaged."""
    layout = read_layout(path)
    sets, without_folder = ImageSets(layout), sets_without_folder(layout)
    decisions: Counter[str] = Counter()
    if exists(join(path, DECISIONS)):
        decisions.update(read_decisions(join(path, DECISIONS)).last.values())
    splits = pc.value_counts(sets.table(["split"])["split"]).to_pylist()
    return SetsInfo(
        path=layout.path,
        sets=layout.sets,
        images=int(layout.sizes.sum()),
        strategies=tuple(StrategyCount(*key, count) for key, count in sets.counts().items()),
        splits={each["values"]: each["counts"] for each in splits if each["values"] is not None},
        sources=tuple(
            _source_info(source, layout.path, without_folder.get(name, 0))
            for name, source in sorted(layout.sources.items())
        ),
        annotations=tuple(AnnotationCount(*key, count) for key, count in layout.annotations.counts().items()),
        rejected=decisions["reject"],
        kept=decisions["keep"],
        forgotten=sets.forgotten,
    )


def sets_without_folder(layout: Layout) -> dict[str, int]:
    """Name of a source without a store or folder -> sets with an image of it, which is known by name or URL only."""
    names = sorted(name for name, source in layout.sources.items() if source.path is None)
    return {name: count for name in names if (count := _sets_of(layout, name))}


def _source_info(source: Source, sets: str, count: int) -> SourceInfo:
    holds = "manifest.json" if source.kind == "store" else ""
    path = source_folder(source, sets, holds=holds)
    is_there = path is not None and exists(join(path, holds) if holds else path)
    return SourceInfo(source.name, source.kind, path, is_there, count)


def _sets_of(layout: Layout, source: str) -> int:
    """The number of sets with an image of this source."""
    count = 0
    for part, (first, last) in enumerate(zip(layout.first_sets[:-1], layout.first_sets[1:], strict=True)):
        own = pc.equal(layout.member_columns(part, ["source"])["source"], pa.scalar(source, pa.string()))
        sizes = layout.sizes[first:last]
        owners = np.repeat(np.arange(len(sizes)), sizes)
        count += len(np.unique(owners[np.asarray(own).astype(np.bool_)]))
    return count
