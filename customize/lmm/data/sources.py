"""Opens sources of training samples: `PLACE[:WEIGHT][,OPTION=VALUE,...]`.

    open_part("pairs:2,cad=differences+choice,split=train")     # a folder of image sets, CaD-VI's conversation
    open_part("llava_v1_5_mix665k.json,images=/data/llava")     # LLaVA's records and their image folder
    open_part("cad-inst.parquet:0.5,images=/data/images")       # CaD-Inst
    open_part("chats.jsonl,count=20000")                        # TRL's messages
    open_part("tars")                                           # tars of image sets

What a place is follows from its contents: a folder of image sets or of their tars has a manifest, and a file's name
tells its kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from customize.lmm.data.mixture import Part
from customize.lmm.data.records import RecordSource
from customize.lmm.data.set_samples import SetSource, TarSource
from customize.lmm.data.source import Source
from customize.lmm.data.variants import IMAGE_ORDERS, Variants, VariedSource
from customize.lmm.model.card import describe_sets
from index.errors import BadInput
from index.files import exists, is_local, join, local_path, read_bytes
from mining.export.tars import FORMAT as TARS
from mining.sets.image_sets import ImageSets

__all__ = ["OPTIONS", "SourceSpec", "describe_source", "open_part", "open_source"]

# The options of a source, by what they mean.
OPTIONS = {
    "count": "samples of an epoch, instead of a weight",
    "name": "its name in logs and statistics",
    "images": "the folder of the images of a file of records, or where the images of sets are now",
    "kind": "kind of the annotations of image sets, several with +",
    "annotator": "annotator of the annotations of image sets, several with +",
    "split": "split of the image sets, several with +",
    "strategy": "strategy of the image sets, several with +",
    "cad": "parts of CaD-VI's conversation from comparisons: commonalities, differences, note, choice, with +",
    "order": f"the images in the first question: {', '.join(IMAGE_ORDERS)}",
    "brief": "yes: the first question is a random one that asks for a brief description (LLaVA's stage 1)",
}
_OF_SETS = ("kind", "annotator", "split", "strategy", "cad")
# An epoch is held in memory as numbers of samples; weights count only relative to one another.
_MOST_SAMPLES, _MOST_WEIGHT = 100_000_000, 1_000_000
_WEIGHT = re.compile(r"(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?")


@dataclass(frozen=True)
class SourceSpec:
    """place: a file or folder. weight, count: as `Part` has them. options: names of OPTIONS and their values."""

    place: str
    weight: float | None = None
    count: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> SourceSpec:
        """The spec that a user writes. Raises BadInput."""
        place, *written = text.split(",")
        options: dict[str, str] = {}
        for each in written:
            name, equals, value = (piece.strip() for piece in each.partition("="))
            if name not in OPTIONS or not equals or not value:
                raise BadInput(f"source {text!r:.200}: {each!r:.80} is no OPTION=VALUE; options: {', '.join(OPTIONS)}")
            if name in options:
                raise BadInput(f"source {text!r:.200}: {name} is given twice")
            options[name] = value
        before, colon, behind = place.rpartition(":")
        weight = None
        if colon and before and _WEIGHT.fullmatch(behind):
            place, weight = before, float(behind)
            if weight <= 0:
                raise BadInput(f"source {text!r:.200}: a weight is above 0; leave the source out instead")
            if weight > _MOST_WEIGHT:
                raise BadInput(f"source {text!r:.200}: a weight is at most {_MOST_WEIGHT:,}")
        if not place:
            raise BadInput(f"source {text!r:.200}: names no file or folder; write PLACE[:WEIGHT][,OPTION=VALUE]")
        count = _count(text, options.pop("count", None))
        if count is not None and weight is not None:
            raise BadInput(f"source {text!r:.200}: give a weight or a count")
        return cls(place, weight, count, options)


def open_part(text: str, *, cache: str | None = None, seed: int = 0) -> Part:
    """The source of a spec, with its weight or count. Raises BadInput in one line; see `open_source`."""
    spec = SourceSpec.parse(text)
    return Part(open_source(spec, cache=cache, seed=seed), spec.weight, spec.count)


def describe_source(text: str) -> dict[str, Any]:
    """Where the samples of a spec come from, for a model card: plain JSON values, without places on this machine.

    `file` is the name of a file or folder, `weight` or `count` and the other options are those of the spec, and a
    folder of image sets is described by `customize.lmm.model.card.describe_sets`. Raises BadInput where `open_source`
    does.
    """
    spec = SourceSpec.parse(text)
    about: dict[str, Any] = {"file": spec.place.rstrip("/").rpartition("/")[2]}
    about |= {name: value for name, value in (("weight", spec.weight), ("count", spec.count)) if value is not None}
    about |= {name: value for name, value in spec.options.items() if name not in ("name", "images")}
    return about | (describe_sets(ImageSets.open(spec.place)) if _kind_of(spec.place) == "sets" else {})


def open_source(spec: SourceSpec, *, cache: str | None = None, seed: int = 0) -> Source:
    """cache: a folder for Arrow files of records. seed: of the draws of `cad`, `order` and `brief`.

    Raises BadInput where the place is not there or is none of the known, or an option does not apply to it.
    """
    options = spec.options
    kind = _kind_of(spec.place)
    if kind == "records":
        if unfit := [name for name in _OF_SETS if name in options]:
            raise BadInput(f"{spec.place}: {', '.join(unfit)} choose among image sets, and this is a file of records")
        source: Source = RecordSource(spec.place, images=options.get("images"), name=options.get("name"), cache=cache)
    else:
        chosen: dict[str, Any] = {name: options[name].split("+") for name in _OF_SETS if name in options}
        if kind == "tars":
            if unfit := [name for name in ("split", "strategy", "images") if name in options]:
                raise BadInput(
                    f"{spec.place}: {', '.join(unfit)} cannot be chosen of tars; choose when they are written"
                )
            source = TarSource(spec.place, name=options.get("name"), seed=seed, **chosen)
        else:
            source = SetSource(spec.place, name=options.get("name"), moved=options.get("images"), seed=seed, **chosen)
    variants = Variants(order=options.get("order", "kept"), brief=_yes(spec.place, options.get("brief")), seed=seed)
    return VariedSource(source, variants) if variants != Variants(seed=seed) else source


def _kind_of(place: str) -> str:
    if not exists(place):
        raise BadInput(
            f"{place}: does not exist; a source is a file of conversations, or a folder of image sets or tars"
        )
    manifest = join(place, "manifest.json")
    if is_local(place) and not local_path(place).is_dir():
        return "records"
    if not exists(manifest):
        if Path(place).suffix:
            return "records"
        raise BadInput(f"{place}: is a folder without a manifest.json, so neither image sets nor their tars")
    try:
        found = json.loads(read_bytes(manifest))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{manifest}: is damaged ({str(error)[:100]})") from error
    return "tars" if isinstance(found, dict) and found.get("format") == TARS else "sets"


def _count(text: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 12 or not 0 < int(value) <= _MOST_SAMPLES:
        raise BadInput(
            f"source {text!r:.200}: count={value!r:.50} is not a number of samples from 1 to {_MOST_SAMPLES:,}"
        )
    return int(value)


def _yes(place: str, value: str | None) -> bool:
    if value not in (None, "yes", "no"):
        raise BadInput(f"{place}: brief={value!r:.50}: write yes or no")
    return value == "yes"
