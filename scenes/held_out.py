"""Held-out scenes as evaluation sets: types alone in a picture, scenes with captions, masks and boxes, as tars + tasks.

    python -m scenes.held_out --out tasks           # then: clipmine evaluate MODEL --task tasks/types.yaml

Pictures come from the `test` split (and its `validation` brother for few-shot training), which no corpus shares. Types
on either side of a run's concept list can be told apart by `splits.group_of`. Knows no model.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from index.errors import BadInput
from scenes.drawing.render import Rendered, render
from scenes.language.captions import captions
from scenes.world.catalog import load_catalog
from scenes.world.sample import sample
from scenes.world.scene import Scene
from scenes.world.splits import concept_groups

TEMPLATES = ("a photo of a {}", "there is a {}", "{}", "a picture of a {}")  # the model card's, shortened
BACKGROUND = ("the ground", "the sky", "a wall")  # what a pixel without an object may show, told to the segmenter
MOST = 60_000  # scenes looked through for one type; the rarest appear about once in 500
TASKS = ("types", "captions", "parts", "boxes")
JPEG_QUALITY = 95  # img2dataset's default, as the corpus
IGNORED = 255  # a mask's pixels that count nowhere
MIN_VISIBLE = 0.3  # share of an object that must be seen for its box to be asked for


@functools.cache
def probes(types: tuple[str, ...], count: int, split: str = "test", size: int = 96) -> dict[str, tuple[Scene, ...]]:
    """`count` scenes of each type that show it alone, in its own places and looks. Deterministic.

    BadInput when a split's first MOST scenes do not have as many.
    """
    strange = [name for name in types if name not in load_catalog().types]
    if strange:
        raise BadInput(f"{strange[0]!r} is no type of the scenes; scenes/world/catalog lists them")
    found: dict[str, list[Scene]] = {name: [] for name in types}
    missing = set(found)
    for number in range(MOST):
        if not missing:
            break
        scene = sample(split, number)
        for thing in scene.objects:
            if thing.type in missing:
                found[thing.type].append(_alone(scene, thing))
                if len(found[thing.type]) == count:
                    missing.discard(thing.type)
    if missing:
        raise BadInput(f"the {split} split shows {sorted(missing)[0]!r} less than {count} times; ask for fewer")
    return {name: tuple(scenes) for name, scenes in found.items()}


def _alone(scene: Scene, thing: Any) -> Scene:
    return dataclasses.replace(scene, objects=(dataclasses.replace(thing, target=None),))


def default_types() -> tuple[str, ...]:
    """Classes from every group: what a run may gain (rare, made-up), what it cannot (absent), and what it may lose."""
    groups = concept_groups()
    return tuple(sorted(groups["frequent"][:20] + groups["rare"] + groups["absent"] + groups["made_up"]))


def write_tasks(
    out: str | Path,
    *,
    types: Sequence[str] | None = None,
    per_type: int = 12,
    shots: int = 20,
    scenes: int = 500,
    kinds: Sequence[str] = TASKS,
) -> list[Path]:
    """Write OUT/{types,captions,parts,boxes}.yaml and their tars, or those of `kinds`; returns the task files.

    types: classes to tell apart, `default_types` without them; per_type test pictures and `shots` training ones each.
    scenes: of captions, of masks and of boxes. Boxes are of all types, masks of `types` (an 8-bit mask has room for
        255); other objects' pixels count nowhere.
    """
    root = Path(out)
    groups = concept_groups()
    names = tuple(types or default_types())
    rarest = groups["rare"] + groups["absent"]
    source = "scenes: drawn scenes with known truth"
    tasks: dict[str, dict[str, Any]] = {
        "types": {
            "kind": "classification",
            "metric": "accuracy",
            "classes": list(names),
            "splits": {"train": "train", "test": "test"},
        },
        "captions": {"kind": "retrieval", "metric": "recall", "splits": {"test": "test"}},
        "parts": {
            "kind": "segmentation",
            "metric": "mIoU",
            "classes": ["background", *names],
            "background": list(BACKGROUND),
            "splits": {"train": "train", "test": "test"},
        },
        "boxes": {
            "kind": "regions",
            "metric": "AP50",
            "classes": list(load_catalog().types),
            "novel": [name for name in load_catalog().types if name in rarest],
            "splits": {"test": "test"},
        },
    }
    paths = []
    for name, task in ((name, tasks[name]) for name in kinds):
        folder = root / name
        for split in task["splits"]:
            if name == "types":
                write_tar(
                    folder / split / "00000.tar", type_samples(names, shots if split == "train" else per_type, split)
                )
            else:
                write_tar(folder / split / "00000.tar", _scenes(name, task.get("classes", ()), scenes, split))
        about = {"name": f"scenes-{name}", "source": source, "data": name, "templates": list(TEMPLATES), **task}
        about["class_count"] = len(task.get("classes", ()))
        if name == "captions":
            del about["templates"]
        paths.append(root / f"{name}.yaml")
        paths[-1].write_text(yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
    return paths


def type_samples(names: tuple[str, ...], count: int, split: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members) of `count` pictures a type, with its name as .cls; split: "train" (of validation) or "test"."""
    source = "validation" if split == "train" else "test"
    for name, found in probes(names, count, source).items():
        for number, scene in enumerate(found):
            yield f"{name.replace(' ', '_')}_{number:03d}", {"jpg": _jpg(render(scene)), "cls": name.encode()}


def _scenes(kind: str, classes: Sequence[str], count: int, split: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    place = {name: number for number, name in enumerate(classes)}
    for number in range(count):
        scene = sample("validation" if split == "train" else "test", number)
        drawn = render(scene)
        members = {"jpg": _jpg(drawn)}
        about: dict[str, Any] = {}
        if kind == "captions":
            about["captions"] = list(captions(scene).clean)
        if kind == "parts":
            # A mask's pixel is 0 or an object's number; the table turns it into the object's class.
            table = np.array([0, *(place.get(thing.type, IGNORED) for thing in scene.objects)], np.uint8)
            members["mask.png"] = _png(table[drawn.mask])
        if kind == "boxes":
            seen = [i for i in range(len(scene.objects)) if drawn.visible[i] >= MIN_VISIBLE]
            about["boxes"] = [[float(edge) for edge in drawn.boxes[i]] for i in seen]
            about["box_labels"] = [scene.objects[i].type for i in seen]
        if about:
            members["json"] = json.dumps(about).encode()
        yield f"{split}_{number:05d}", members


def _jpg(drawn: Rendered) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(drawn.image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _png(mask: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_tar(path: Path, samples: Iterable[tuple[str, dict[str, bytes]]]) -> None:
    """Write (key, {suffix: content}) samples as a webdataset tar, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        for key, members in samples:
            for suffix, data in members.items():
                about = tarfile.TarInfo(f"{key}.{suffix}")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    partial.rename(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-type", type=int, default=12, help="test pictures a type")
    parser.add_argument("--shots", type=int, default=20, help="training pictures a type")
    parser.add_argument("--scenes", type=int, default=500, help="scenes with captions, masks and boxes each")
    chosen = parser.parse_args()
    for written in write_tasks(chosen.out, per_type=chosen.per_type, shots=chosen.shots, scenes=chosen.scenes):
        print(written)
