"""Localized Narratives, as published, become a folder of images with captions that `clipmine embed` reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from index.corpus.samples import Sample
from index.corpus.sources import list_items, read_item

SCRIPT = Path(__file__).parents[1] / "examples" / "localized_narratives.py"


def narrative(dataset: str, image: str, annotator: int, caption: str) -> str:
    timed = [{"utterance": caption, "start_time": 0.0, "end_time": 0.4}]
    traces = [[{"x": 0.2086, "y": -0.0533, "t": 0.022}]]
    values = {"dataset_id": dataset, "image_id": image, "annotator_id": annotator, "caption": caption}
    return json.dumps({**values, "timed_caption": timed, "traces": traces, "voice_recording": "a.ogg"}) + "\n"


def test_captions_come_to_stand_beside_the_images_of_all_collections(tmp_path: Path) -> None:
    names = (
        "coco/000000137576.jpg",
        "openimages/7df2bc41b2093a4e.jpg",
        "flickr30k/300839715.jpg",
        "ade/ADE_train_1.jpg",
    )
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    lines = {
        "coco_val_localized_narratives.jsonl": [
            narrative("mscoco_val2017", "137576", 93, "In this image there are cows."),
            narrative("mscoco_val2017", "137576", 94, "Cows stand on grass."),
            narrative("mscoco_val2017", "1", 94, "No such image here."),
        ],
        "open_images_validation_localized_narratives.jsonl": [
            narrative("open_images_validation", "7df2bc41b2093a4e", 1, "A bus.")
        ],
        "flickr30k_val_localized_narratives.jsonl": [narrative("Flick30k_val", "300839715", 2, "A man.")],
        "ade20k_train_captions.jsonl": [json.dumps({"image_id": "ADE_train_1", "caption": "A room."}) + "\n"],
    }
    for name, own in lines.items():
        (tmp_path / name).write_text("".join(own))
    command = [sys.executable, str(SCRIPT), str(tmp_path / "images"), *(str(tmp_path / name) for name in lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "6 narratives, 4 images captioned, 1 images not found\n"
    samples = [each for item in list_items(str(tmp_path / "images")) for each in read_item(item)]
    found = {each.key: each.captions for each in samples if isinstance(each, Sample)}
    assert len(samples) == 4
    assert found == {
        "coco/000000137576": ("In this image there are cows.", "Cows stand on grass."),
        "openimages/7df2bc41b2093a4e": ("A bus.",),
        "flickr30k/300839715": ("A man.",),
        "ade/ADE_train_1": ("A room.",),
    }
