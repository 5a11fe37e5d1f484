"""LLaVA's instruction data from image sets: one JSON file and a folder of images.

    {"id": "1f0c2a7e-12_345", "image": ["9f2c….jpg", "03ab….jpg"], "conversations": [
        {"from": "human", "value": "Image 1: <image>\\nImage 2: <image>\\nWhat does each image show?"},
        {"from": "gpt", "value": "Image 1: a red bus\\nImage 2: a blue bus"}]}

`image` lists files of the image folder (LLaVA's --image_folder), one for each `<image>` of the conversation, as the
training code of LLaVA-NeXT and CaD-VI reads it; a record without images has none. A system turn is written as
{"from": "system"}, which LLaMA-Factory and ms-swift read and LLaVA's own code does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import IO, Any

from index.corpus.image_decoding import image_extension
from index.errors import BadInput
from index.files import atomic_file, exists, file_size, is_local, join, local_path, write_atomic
from mining.export.member_images import MemberImages
from mining.export.read_sets import read_samples
from mining.export.samples import Choice, PerSet, Samples
from mining.export.skipped import REJECTED, Counted, OnSkipped, SetsExport, SkippedSet
from mining.export.templates import Template
from mining.export.turns import Answer, Question
from mining.sets.annotation import Turn, marked_text
from mining.sets.attached import Names
from mining.sets.image_set import Member
from mining.sets.image_sets import ImageSets
from mining.sets.sources import Folder, Moved

__all__ = ["conversations", "to_llava"]

_FROM = {"system": "system", "user": "human", "assistant": "gpt"}
# Hex digits of a file's sha256 in its name: two of a billion files have the same with a chance of 10^-11.
_DIGITS = 24


def to_llava(
    sets: ImageSets,
    out: Folder,
    *,
    images: Folder | None = None,
    moved: Moved = None,
    kind: Names | None = None,
    annotator: Names | None = None,
    answer: Answer | None = None,
    per_set: PerSet = "all",
    question: Question = None,
    template: Template = None,
    rejected: bool = False,
    seed: int = 0,
    on_skipped: OnSkipped | None = None,
) -> SetsExport:
    """Write the file `out`: a JSON list, or JSON lines where its name ends in .jsonl. It is moved in place when whole.

    Args:
        images: the folder for the image files, each written once with its original bytes under a name made of its
            content, so that several exports may share the folder. A file that is there is kept, so a second run writes
            only what is missing. By default `images` beside `out`.
        moved: where the images' sources are now: see MemberImages.
        seed: of the draw of one annotation a set, with per_set="one".
        on_skipped: called with each sample that is skipped; they are counted in the result in any case.
        kind, annotator, answer, per_set, question, template, rejected: see `mining.export.samples.Choice`.

    Sets without a conversation or with an image that can't be read are skipped. Raises BadInput for another file name,
    a folder where the file would be or a file where the folder would be, and what MemberImages raises.
    """
    target = os.fspath(out)
    if not target.endswith((".json", ".jsonl")):
        raise BadInput(f"{target}: LLaVA's data is a file named .json or .jsonl")
    folder = os.fspath(images) if images is not None else join(target.rpartition("/")[0] or ".", "images")
    _check_places(target, folder)
    choice: Choice = {
        "kind": kind,
        "annotator": annotator,
        "answer": answer,
        "per_set": per_set,
        "question": question,
        "template": template,
        "rejected": rejected,
    }
    samples = Samples(sets, seed=seed, **choice)
    skipped = Counted({REJECTED: samples.rejected} if samples.rejected else {})

    def skip(each: SkippedSet) -> None:
        skipped(each)
        if on_skipped is not None:
            on_skipped(each)

    for unused in samples.unused():
        skip(unused)
    records = _records(samples, MemberImages(sets, moved), folder, skip)
    with atomic_file(target) as partial, open(partial, "w", encoding="utf-8") as stream:
        written = _write_lines(stream, records) if target.endswith(".jsonl") else _write_list(stream, records)
    return SetsExport(target, written + sum(skipped.reasons.values()), written, skipped.reasons, skipped.named)


def _check_places(target: str, folder: str) -> None:
    """Fails before any image is read, where the file or the folder of the images cannot be made."""
    if is_local(target) and local_path(target).is_dir():
        raise BadInput(f"{target}: is a folder; name a file for the records, or remove it")
    for name, what in ((target, "the records"), (folder, "the images")):
        if not is_local(name):
            continue
        path = local_path(name)
        for each in (path, *path.parents) if name == folder else path.parents:
            if each.exists() and not each.is_dir():
                raise BadInput(f"{each}: is a file where {what} need a folder; choose another place")


def conversations(turns: tuple[Turn, ...]) -> list[dict[str, str]]:
    """LLaVA's `conversations`, with `<image>` for each image."""
    return [{"from": _FROM[turn.role], "value": marked_text(turn.parts)} for turn in turns]


def _records(samples: Samples, images: MemberImages, folder: str, on_skipped: OnSkipped) -> Iterator[dict[str, Any]]:
    for found in read_samples(images, samples.read(samples.numbers())):
        if isinstance(found, SkippedSet):
            on_skipped(found)
            continue
        sample, files = found
        record: dict[str, Any] = {"id": sample.sample_id}
        if sample.shown:
            record["image"] = [_written(folder, sample.set.members[place], files[place]) for place in sample.shown]
        yield {**record, "conversations": conversations(sample.turns)}


def _written(folder: str, member: Member, data: bytes) -> str:
    """The name of the image's file in `folder`, where it is written unless it is there."""
    digest = member.sha256 or hashlib.sha256(data).hexdigest()
    name = f"{digest[:_DIGITS]}.{image_extension(data)}"
    path = join(folder, name)
    if not exists(path) or file_size(path) != len(data):
        write_atomic(path, data)
    return name


def _write_lines(stream: IO[str], records: Iterator[dict[str, Any]]) -> int:
    written = 0
    for record in records:
        stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        written += 1
    return written


def _write_list(stream: IO[str], records: Iterator[dict[str, Any]]) -> int:
    written = 0
    for record in records:
        stream.write(("[\n" if not written else ",\n") + json.dumps(record, ensure_ascii=False))
        written += 1
    stream.write("\n]\n" if written else "[]\n")
    return written
