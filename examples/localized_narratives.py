"""Writes the captions of Localized Narratives beside the images, so that `clipmine embed IMAGES` reads both.

    python examples/localized_narratives.py IMAGES coco_train_captions.jsonl open_images_train_v6_captions.jsonl ...

Its files have a line for each narrative: {"dataset_id", "image_id", "annotator_id", "caption", ...}; those that are
called *_captions.jsonl have captions and no traces. The images are those of COCO 2017, Open Images, Flickr30k and
ADE20K, anywhere below IMAGES, under their own names: 000000137576.jpg, 7df2bc41b2093a4e.jpg, 300839715.jpg,
ADE_train_00009414.jpg. NAME.json is written beside NAME.jpg, with all narratives of the image; a file of that name is
replaced.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png"}
COCO_DIGITS = 12  # COCO's ids are numbers, its files are named by twelve digits


def image_name(narrative: dict[str, str], file: Path) -> str:
    """The name of a narrative's image, without its suffix."""
    name, collection = str(narrative["image_id"]), narrative.get("dataset_id") or file.name
    return name.zfill(COCO_DIGITS) if "coco" in collection.lower() else name.removesuffix(".jpg")


def write_captions(images: Path, files: Iterable[Path]) -> tuple[int, int, int]:
    """Write a side-car for each image with narratives: (narratives read, images captioned, images not found)."""
    captions: dict[str, list[str]] = {}
    read = 0
    for file in files:
        with file.open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                narrative = json.loads(line)
                captions.setdefault(image_name(narrative, file), []).append(narrative["caption"])
                read += 1
    places = {place.stem: place for place in images.rglob("*") if place.suffix.lower() in SUFFIXES}
    for name in captions.keys() & places.keys():
        side_car = {"caption": captions[name][0], "captions": captions[name]}
        places[name].with_suffix(".json").write_text(json.dumps(side_car), encoding="utf-8")
    return read, len(captions.keys() & places.keys()), len(captions.keys() - places.keys())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the captions of Localized Narratives beside the images.")
    parser.add_argument("images", type=Path, help="folder with the images of its collections")
    parser.add_argument("files", type=Path, nargs="+", help="its JSONL files")
    arguments = parser.parse_args()
    narratives, captioned, missing = write_captions(arguments.images, arguments.files)
    print(f"{narratives:,} narratives, {captioned:,} images captioned, {missing:,} images not found")
