"""Writes a split as webdataset tars in img2dataset's layout: KEY.jpg, KEY.json, KEY.txt in shards of equal size.

The same split, count and sizes give the same bytes in every process. A shard is written under a temporary name and then
renamed, so a shard that exists is complete: a run that was killed continues where it stopped.
Run as: python -m scenes.tars --split corpus --count 20000 --out DIR [--easy | --lean]
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import multiprocessing
import os
import tarfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from index.errors import BadInput
from scenes.drawing.paint import Image as Pixels
from scenes.drawing.render import render
from scenes.language.alt_text import alt_text
from scenes.language.captions import captions
from scenes.language.phrases import text_context
from scenes.language.questions import questions
from scenes.world.easy import easy_scene
from scenes.world.sample import sample
from scenes.world.scene import Scene, to_json
from scenes.world.splits import SPLITS, STORY_LENGTH
from scenes.world.story import sentence_of

SHARD_DIGITS, INDEX_DIGITS = 5, 4  # digits of a key, as img2dataset writes them for shards of 10,000
JPEG_QUALITY = 95  # img2dataset's default


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """The scenes of one tar: numbers `first` to `last` (not included) of a split, of the easy world or the full one."""

    split: str
    shard: int
    first: int
    last: int
    size: int
    path: str
    easy: bool = False
    lean: bool = False


def write_split(
    split: str,
    out: str | Path,
    count: int | None = None,
    shard_size: int = 1000,
    size: int = 96,
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
    easy: bool = False,
    lean: bool = False,
) -> list[Path]:
    """Write the first `count` scenes (default: all) of a split into OUT/00000.tar, 00001.tar, ...; returns the paths.

    Shards that exist are skipped. size: pixels of an image's side. `progress` is called with the number of scenes of
    each finished shard; without it a progress bar is shown. easy: scenes of `scenes.world.easy`, whose caption is a
    full sentence, with the dense one among their captions, instead of a web-like alt text. lean: of all texts the
    alt text only, and of the truth the types. Raises BadInput for an unknown split or a number that is not positive.
    """
    if split not in SPLITS:
        raise BadInput(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    count = SPLITS[split].size if count is None else count
    if min(count, shard_size, size, workers) < 1 or shard_size > 10**INDEX_DIGITS:
        raise BadInput(f"count, size and workers must be positive, and a shard holds 1 to {10**INDEX_DIGITS} scenes")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        ShardTask(
            split, shard, first, min(first + shard_size, count), size, str(folder / f"{shard:05d}.tar"), easy, lean
        )
        for shard, first in enumerate(range(0, count, shard_size))
    ]
    undone = [task for task in tasks if not Path(task.path).exists()]
    with tqdm(total=count, unit="scene", disable=True if progress else None, desc=split) as bar:
        bar.update(count - sum(task.last - task.first for task in undone))
        advance = progress or bar.update
        if workers == 1 or len(undone) < 2:
            for task in undone:
                advance(write_shard(task))
        else:
            # Spawn, not fork: OpenCV and NumPy keep threads, whose locks a forked process would inherit.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(workers, len(undone)), mp_context=context) as pool:
                for done in as_completed([pool.submit(write_shard, task) for task in undone]):
                    advance(done.result())
    return [Path(task.path) for task in tasks]


def write_shard(task: ShardTask) -> int:
    """Write one shard; returns the number of scenes in it."""
    keys = {
        number: f"{task.shard:0{SHARD_DIGITS}d}{number - task.first:0{INDEX_DIGITS}d}"
        for number in range(task.first, task.last)
    }
    draw = easy_scene if task.easy else sample
    write_tar(
        Path(task.path),
        ((key, _members(draw(task.split, number), key, task)) for number, key in keys.items()),
    )
    return len(keys)


def _members(scene: Scene, key: str, task: ShardTask) -> dict[str, bytes]:
    return lean_members(scene, task.size) if task.lean else members(scene, key, task.size, task.easy)


def write_tar(path: Path, samples: Iterable[tuple[str, dict[str, bytes]]]) -> None:
    """Write (key, {suffix: content}) samples as a webdataset tar; a tar that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A killed run may leave its temporary file; the process id keeps two runs from writing to the same one.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in samples:
            for suffix, data in files.items():
                header = tarfile.TarInfo(f"{key}.{suffix}")  # mtime, uid and gid stay 0
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))
    temporary.replace(path)


def encode_jpeg(image: Pixels) -> bytes:
    """An image [h, w, 3] RGB as a JPEG of JPEG_QUALITY."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def members(scene: Scene, key: str, size: int = 96, full: bool = False) -> dict[str, bytes]:
    """A scene's tar members: suffix -> bytes of the jpg, json and txt. full: captions as people write them."""
    jpg = encode_jpeg(render(scene, size).image)
    row = sidecar(scene, key, jpg, size)
    if full:
        texts = captions(scene)
        row["caption"], row["captions"] = texts.clean[-1], [texts.dense, *texts.clean[:-1]]
    return {
        "jpg": jpg,
        "json": json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode(),
        "txt": str(row["caption"]).encode(),
    }


def lean_members(scene: Scene, size: int) -> dict[str, bytes]:
    """The jpg, json and txt of a scene's picture and alt text; the json has its types and the kind of its text."""
    text, kind, _ = alt_text(text_context(scene, 0))
    about = {"alt_kind": kind, "number": int(scene.id.partition("/")[2])}
    about["types"] = list(dict.fromkeys(thing.type for thing in scene.objects))
    return {
        "jpg": encode_jpeg(render(scene, size).image),
        "json": json.dumps(about, ensure_ascii=False, separators=(",", ":")).encode(),
        "txt": text.encode(),
    }


def sidecar(scene: Scene, key: str, jpg: bytes, size: int) -> dict[str, object]:
    """The json member: img2dataset's fields, then the captions and the scene's truth."""
    texts = captions(scene)
    split, _, number = scene.id.partition("/")
    row: dict[str, object] = {
        "caption": texts.alt,
        "url": fake_url(scene),
        "key": key,
        "status": "success",
        "error_message": None,
        "width": size,
        "height": size,
        "original_width": size,
        "original_height": size,
        "exif": "{}",
        "sha256": hashlib.sha256(jpg).hexdigest(),
        "captions": list(texts.clean),
        "dense": texts.dense,
        "alt_kind": texts.alt_kind,
        "regions": list(texts.regions),
        "questions": [[item.question, item.answer, item.kind] for item in questions(scene)],
        "split": split,
        "number": int(number),
        "truth": json.loads(to_json(scene)),
    }
    if scene.story is not None and scene.step is not None:
        row["sentence"] = sentence_of(scene, scene.step, STORY_LENGTH)[0]
    return row


def fake_url(scene: Scene) -> str:
    """A URL on a domain reserved for examples (RFC 2606): nothing can be fetched from it."""
    digest = hashlib.sha256(scene.id.encode()).hexdigest()
    words = [scene.objects[0].type, scene.place] if scene.objects else [scene.place]
    return f"https://scenes.example/{digest[:2]}/{'-'.join('-'.join(words).split())}-{digest[2:10]}.jpg"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write a split of the embedded world as webdataset tars.")
    parser.add_argument("--split", required=True, choices=list(SPLITS))
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--count", type=int, help="scenes to write (default: the split's size)")
    parser.add_argument("--shard-size", type=int, default=1000, help="scenes a tar (default: 1000)")
    parser.add_argument("--size", type=int, default=96, help="pixels of an image's side")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: the cores)")
    parser.add_argument("--easy", action="store_true", help="scenes of the easy world, with full captions")
    parser.add_argument("--lean", action="store_true", help="of texts the alt text only, of the truth the types")
    given = parser.parse_args(arguments)
    try:
        paths = write_split(
            given.split,
            given.out,
            given.count,
            given.shard_size,
            given.size,
            given.workers,
            easy=given.easy,
            lean=given.lean,
        )
    except BadInput as error:
        parser.error(str(error))
    print(f"{len(paths)} shards in {given.out}")


if __name__ == "__main__":
    main()
