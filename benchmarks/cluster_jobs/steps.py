"""The steps of the pipeline as command lines, and what they write."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Step", "checksums", "steps"]

_CLIP = Path(__file__).resolve().parents[2] / "scenes" / "models" / "clip"
# Times and numbers of processes: they differ between two runs of one command.
_TIMES = ("start_time", "end_time", "duration")


@dataclass(frozen=True)
class Step:
    """One command. out: the folder that it writes; first: a pattern of the files that show that an item is done."""

    name: str
    arguments: list[str]
    out: Path
    first: str


def steps(folder: Path, work: Path, executor: str) -> list[Step]:
    """embed, index, retrieve, mine, export, each in several items."""
    on = ["--executor", executor, "--workers", "2"]
    store, selection, pairs, tars = (work / name for name in ("store", "selection", "pairs", "tars"))
    embed = ["embed", str(folder / "corpus"), "--out", str(store), "--model-dir", str(_CLIP), "--device", "cpu", *on]
    index = ["index", str(store), "--shard-rows", "200", "-M", "8", "--ef-construction", "40", *on]
    concepts = ["--concepts", str(folder / "concepts.txt"), "-k", "50", "--templates", "openai_imagenet"]
    retrieve = ["retrieve", str(store), *concepts, "--out", str(selection), *on]
    mine = ["mine", str(store), "--strategy", "similar:0.5,overlap:0.5", "--sets", "100", "--out", str(pairs), *on]
    export = ["export", str(selection), "--shard-size", "20", "--out", str(tars), *on]
    return [
        Step("embed", embed, store, "done/*.json"),
        Step("index", index, store, "index/image/*"),
        Step("retrieve", retrieve, selection, "work/**/*"),
        Step("mine", mine, pairs, "work/**/*"),
        Step("export", export, tars, "*.tar"),
    ]


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, of JSON files without times."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(_content(file)).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _content(file: Path) -> bytes:
    if file.suffix != ".json":
        return file.read_bytes()
    return json.dumps(_without_times(json.loads(file.read_bytes())), sort_keys=True).encode()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(each) for name, each in value.items() if name not in _TIMES}
    return [_without_times(each) for each in value] if isinstance(value, list) else value
