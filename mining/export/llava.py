"""LLaVA's instruction data from image sets: one JSON file and a folder of images.

    {"id": "12_345", "image": ["12.jpg", "345.jpg"], "conversations": [
        {"from": "human", "value": "Image 1: <image>\\nImage 2: <image>\\nWhat does each image show?"},
        {"from": "gpt", "value": "Image 1: a red bus\\nImage 2: a blue bus"}]}

`image` lists files of the image folder (LLaVA's --image_folder), one for each `<image>` of the conversation, as the
training code of LLaVA-NeXT and CaD-VI reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import IO, Any

from index.corpus.image_decoding import image_extension
from index.errors import BadInput
from index.files import atomic_file, exists, file_size, join, write_atomic
from mining.export.conversations import Answer, answered_sets, with_places
from mining.export.member_images import with_images
from mining.export.skipped import Counted, OnSkipped, SetsExport
from mining.sets.image_set import ImageSet
from mining.sets.image_sets import ImageSets

__all__ = ["conversations", "to_llava"]

Folder = str | os.PathLike[str]


def to_llava(
    sets: ImageSets,
    out: Folder,
    *,
    images: Folder | None = None,
    answer: Answer | None = None,
    store: Folder | None = None,
) -> SetsExport:
    """Write the file `out`: a JSON list, or JSON lines where its name ends in .jsonl. It is moved in place when whole.

    Args:
        images: the folder for the image files, each written once as ROW_ID.EXT with its original bytes; a file that is
            there with the same size is kept, so a second run writes only what is missing. By default `images` beside
            `out`.
        answer: set -> turns of (question, answer), None to skip it. By default the captions unchanged.
        store: where the store is now, if it was moved.

    Sets without an answer or with an image that can't be read are skipped, and counted in the result. Raises BadInput
    for another file name, ImagesNotLocal where the store has no images.
    """
    target = os.fspath(out)
    if not target.endswith((".json", ".jsonl")):
        raise BadInput(f"{target}: LLaVA's data is a file named .json or .jsonl")
    folder = os.fspath(images) if images is not None else join(target.rpartition("/")[0] or ".", "images")
    skipped = Counted()
    records = _records(sets, folder, answer, store, skipped)
    with atomic_file(target) as partial, open(partial, "w", encoding="utf-8") as stream:
        written = _write_lines(stream, records) if target.endswith(".jsonl") else _write_list(stream, records)
    return SetsExport(target, len(sets), written, skipped.reasons, skipped.named)


def conversations(each: ImageSet, turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    """LLaVA's `conversations`; the images' places are in the first question."""
    messages = []
    for number, (question, answered) in enumerate(turns):
        messages.append({"from": "human", "value": with_places(each, question) if number == 0 else question})
        messages.append({"from": "gpt", "value": answered})
    return messages


def _records(
    sets: ImageSets, folder: str, answer: Answer | None, store: Folder | None, on_skipped: OnSkipped
) -> Iterator[dict[str, Any]]:
    turns: dict[str, list[tuple[str, str]]] = {}
    answered = answered_sets(sets, answer, on_skipped, turns)
    for each, files in with_images(sets.store(store), answered, on_skipped):
        names = []
        for member, data in zip(each.members, files, strict=True):
            names.append(f"{member.row_id}.{image_extension(data)}")
            path = join(folder, names[-1])
            if not exists(path) or file_size(path) != len(data):
                write_atomic(path, data)
        yield {"id": each.set_id, "image": names, "conversations": conversations(each, turns.pop(each.set_id))}


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
