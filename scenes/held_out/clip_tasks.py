"""Writes held-out scenes as evaluation tasks: single objects, captions, masks and boxes, each as tars and a task file.

    python -m scenes.held_out --out tasks           # then: clipmine evaluate MODEL --task tasks/types.yaml

Images come from the `test` split, those for few-shot training from the `validation` split; no corpus shares a scene
with either. `splits.group_of` gives the concept group of a type.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from index.errors import BadInput
from scenes.drawing.render import render
from scenes.language.captions import captions
from scenes.tars import encode_jpeg, write_tar
from scenes.world.catalog import load_catalog
from scenes.world.sample import sample
from scenes.world.scene import Scene, SceneObject
from scenes.world.splits import concept_groups

TEMPLATES = ("a photo of a {}", "there is a {}", "{}", "a picture of a {}")  # four of the model card's
BACKGROUND = ("the ground", "the sky", "a wall")  # class names of the pixels without an object
MAX_SCENES = 60_000  # scenes searched for one type; the rarest types appear about once in 500
TASKS = ("types", "captions", "parts", "boxes")
IGNORED = 255  # mask value of pixels that no metric counts
MIN_VISIBLE = 0.3  # visible share of an object from which its box is part of the task


@functools.cache
def single_objects(types: tuple[str, ...], count: int, split: str = "test") -> dict[str, tuple[Scene, ...]]:
    """`count` scenes of each type that show one object of it and no other object. Deterministic.

    They are scenes of the split with all other objects removed, so places and looks are natural for the type. Raises
    BadInput for an unknown type, and when the split's first MAX_SCENES scenes show a type less than `count` times.
    """
    unknown = [name for name in types if name not in load_catalog().types]
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no type of the scenes; scenes/world/catalog lists them")
    found: dict[str, list[Scene]] = {name: [] for name in types}
    missing = set(found)
    for number in range(MAX_SCENES):
        if not missing:
            break
        scene = sample(split, number)
        for thing in scene.objects:
            if thing.type in missing:
                found[thing.type].append(_only(scene, thing))
                if len(found[thing.type]) == count:
                    missing.discard(thing.type)
    if missing:
        raise BadInput(f"the {split} split shows {sorted(missing)[0]!r} less than {count} times; ask for fewer")
    return {name: tuple(scenes) for name, scenes in found.items()}


def _only(scene: Scene, thing: SceneObject) -> Scene:
    return dataclasses.replace(scene, objects=(dataclasses.replace(thing, target=None),))


def default_types() -> tuple[str, ...]:
    """Classes of the task `types`: 20 frequent types, and all rare, absent and made-up ones.

    Customizing can improve rare and made-up types, cannot improve absent ones, and may make frequent ones worse.
    """
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

    types: the classes to distinguish (default: `default_types`), each with `per_type` test images and `shots` training
        images.
    scenes: the number of scenes of each of the tasks captions, parts (masks) and boxes. Boxes are of all types; masks
        are of `types` only, since an 8-bit mask has room for 255 classes, and other objects' pixels are IGNORED.
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
    """(key, members) of `count` images a type, with its name as .cls; split: "train" (from validation) or "test"."""
    source = "validation" if split == "train" else "test"
    for name, found in single_objects(names, count, source).items():
        for number, scene in enumerate(found):
            yield (
                f"{name.replace(' ', '_')}_{number:03d}",
                {"jpg": encode_jpeg(render(scene).image), "cls": name.encode()},
            )


def _scenes(kind: str, classes: Sequence[str], count: int, split: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    class_id = {name: number for number, name in enumerate(classes)}
    for number in range(count):
        scene = sample("validation" if split == "train" else "test", number)
        drawn = render(scene)
        members = {"jpg": encode_jpeg(drawn.image)}
        about: dict[str, Any] = {}
        if kind == "captions":
            about["captions"] = list(captions(scene).clean)
        if kind == "parts":
            # A pixel of the drawn mask is 0 or an object's number; the table gives the class of each.
            table = np.array([0, *(class_id.get(thing.type, IGNORED) for thing in scene.objects)], np.uint8)
            members["mask.png"] = _png(table[drawn.mask])
        if kind == "boxes":
            visible = [i for i in range(len(scene.objects)) if drawn.visible[i] >= MIN_VISIBLE]
            about["boxes"] = [[float(edge) for edge in drawn.boxes[i]] for i in visible]
            about["box_labels"] = [scene.objects[i].type for i in visible]
        if about:
            members["json"] = json.dumps(about).encode()
        yield f"{split}_{number:05d}", members


def _png(mask: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write held-out scenes as evaluation tasks.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the task files and their tars")
    parser.add_argument("--per-type", type=int, default=12, help="test images a type (default: 12)")
    parser.add_argument("--shots", type=int, default=20, help="training images a type (default: 20)")
    parser.add_argument("--scenes", type=int, default=500, help="scenes of each other task (default: 500)")
    given = parser.parse_args(arguments)
    try:
        written = write_tasks(given.out, per_type=given.per_type, shots=given.shots, scenes=given.scenes)
    except BadInput as error:
        parser.error(str(error))
    print(*written, sep="\n")


if __name__ == "__main__":
    main()
