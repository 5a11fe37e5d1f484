"""Writes scenes as images and an annotation file in COCO's form, with a split of their types into base and novel.

    python -m scenes.coco_files --split corpus --count 2000 --out DIR [--easy]

    DIR/images/000000.jpg ...     DIR/boxes.json     DIR/split.json

A box belongs to an object of which enough is seen, and is cut to what the image shows of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from index.errors import BadInput
from scenes.drawing.render import render
from scenes.held_out.clip_tasks import MIN_VISIBLE, TEMPLATES
from scenes.tars import encode_jpeg
from scenes.world.catalog import load_catalog
from scenes.world.easy import EASY_TYPES, easy_scene
from scenes.world.sample import sample
from scenes.world.splits import SPLITS, concept_groups

SIZE = 96  # pixels of an image's side


def novel_types() -> tuple[str, ...]:
    """The types that are novel by default: those of the group `rare`, which pretraining shows seldom."""
    return tuple(sorted(concept_groups()["rare"]))


def write_coco(
    split: str,
    out: str | Path,
    count: int,
    *,
    first: int = 0,
    size: int = SIZE,
    types: Sequence[str] | None = None,
    novel: Collection[str] | None = None,
    easy: bool = False,
) -> Path:
    """Write `count` scenes of a split, from number `first`, and return the annotation file. Deterministic.

    Args:
        types: the categories (default: all of the catalog, or of the easy world); objects of others have no box.
        novel: those that are no base classes (default: `novel_types`).
        easy: scenes of `scenes.world.easy`.

    Raises:
        BadInput: an unknown split or type, or a count that is not positive.
    """
    names = tuple(types or (EASY_TYPES if easy else load_catalog().types))
    wrong = [name for name in names if name not in load_catalog().types]
    if split not in SPLITS or wrong:
        raise BadInput(f"unknown {'type' if wrong else 'split'} {(wrong or [split])[0]!r}")
    if min(count, size) < 1 or first < 0:
        raise BadInput("count and size must be positive")
    folder = Path(out)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    numbers = {name: number for number, name in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number in range(first, first + count):
        scene = easy_scene(split, number) if easy else sample(split, number)
        drawn = render(scene, size)
        name = f"{number:06d}.jpg"
        (folder / "images" / name).write_bytes(encode_jpeg(drawn.image))
        images.append({"id": number, "file_name": name, "width": size, "height": size})
        for place, thing in enumerate(scene.objects):
            x0, y0, x1, y1 = (min(max(float(edge), 0.0), float(size)) for edge in drawn.boxes[place])
            if drawn.visible[place] < MIN_VISIBLE or thing.type not in numbers or x0 >= x1 or y0 >= y1:
                continue
            about = {"id": len(boxes) + 1, "image_id": number, "category_id": numbers[thing.type], "iscrowd": 0}
            boxes.append({**about, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)})
    known = novel_types() if novel is None else tuple(novel)
    classes = {
        "name": "scenes",
        "source": "scenes: drawn scenes with known truth",
        "templates": list(TEMPLATES),
        "base": [each for each in names if each not in known],
        "novel": [each for each in names if each in known],
    }
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    path = folder / "boxes.json"
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": boxes}))
    (folder / "split.json").write_text(json.dumps(classes, indent=1, ensure_ascii=False) + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Write scenes as images and an annotation file in COCO's form.")
    parser.add_argument("--split", default="corpus", help=f"one of {', '.join(SPLITS)} (default: corpus)")
    parser.add_argument("--count", type=int, default=2000, help="number of scenes (default: 2000)")
    parser.add_argument("--out", type=Path, required=True, help="folder for images, boxes.json and split.json")
    parser.add_argument("--easy", action="store_true", help="scenes of the easy world, whose 38 types are told apart")
    given = parser.parse_args(arguments)
    try:
        print(write_coco(given.split, given.out, given.count, easy=given.easy))
    except BadInput as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
