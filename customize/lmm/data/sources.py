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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from customize.lmm.data.mixture import Part
from customize.lmm.data.records import RecordSource
from customize.lmm.data.set_samples import SetSource, TarSource
from customize.lmm.data.source import Source
from customize.lmm.data.source_spec import SourceSpec
from customize.lmm.data.variants import Variants, VariedSource
from customize.lmm.model.card import describe_sets
from index.errors import BadInput
from index.files import exists, is_local, join, local_path, read_bytes
from mining.export.tars import FORMAT as TARS
from mining.sets.image_sets import ImageSets

__all__ = ["describe_source", "open_part", "open_source"]

_OF_SETS = ("kind", "annotator", "split", "strategy", "cad")


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
    if _kind_of(spec.place) != "sets":
        return about
    annotators = spec.options["annotator"].split("+") if "annotator" in spec.options else None
    return about | describe_sets(ImageSets.open(spec.place), _trained_kinds(spec.options), annotators)


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


def _trained_kinds(options: Mapping[str, str]) -> list[str] | None:
    """The kinds of annotations that samples are made of; None for all."""
    if "kind" in options:
        return options["kind"].split("+")
    if "cad" not in options:
        return None
    parts = options["cad"].split("+")
    return [] if parts == ["choice"] else ["comparison", *(["difference_note"] if "note" in parts else [])]


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


def _yes(place: str, value: str | None) -> bool:
    if value not in (None, "yes", "no"):
        raise BadInput(f"{place}: brief={value!r:.50}: write yes or no")
    return value == "yes"
