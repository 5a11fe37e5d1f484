"""The size of a run, and its data: a pool of pairs, the part of it for pretraining, and boxes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from index.files import write_atomic
from scenes.coco_files import write_coco
from scenes.drawing.render import render
from scenes.language.captions import captions
from scenes.tars import encode_jpeg, write_tar
from scenes.world.easy import EASY_TYPES, easy_scene

NOVEL = EASY_TYPES[::5]
SIDE = 64  # pixels of an image's side: 2 x 2 places before the attention pooling
KEPT = 10  # of so many scenes with a novel type, one is for pretraining


@dataclass(frozen=True)
class Plan:
    """The size of a run.

    Attributes:
        scenes: of the pool; about six of ten show no novel type.
        boxes, tested: scenes with boxes to train on, and to test on.
        width: of the ResNet, 64 in an RN50.
        clip_steps, react_steps, detect_steps: steps of each training.
        per_type: pairs that are retrieved for a novel type, at most.
    """

    name: str = "default"
    scenes: int = 3_000
    boxes: int = 600
    tested: int = 300
    width: int = 24
    clip_steps: int = 500
    clip_batch: int = 64
    react_steps: int = 80
    react_batch: int = 64
    per_type: int = 60
    detect_steps: int = 200
    detect_batch: int = 8
    seeds: int = 3

    @classmethod
    def quick(cls) -> Plan:
        """All parts, too small to learn anything."""
        return cls("quick", 120, 24, 12, 16, 6, 16, 3, 8, 6, 4, 4, 1)


class World:
    """The folders below `root`; each is written once."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan

    @property
    def pool(self) -> Path:
        """The tars of the pool, with the types of each scene in its json."""
        return self.root / "pool"

    def boxes(self, kind: str) -> Path:
        """The annotations, images and split to train on ("train") or to test on ("test")."""
        return self.root / f"boxes-{kind}"

    def draw(self) -> None:
        """Draw what is not there yet."""
        if not (self.pool / "00000.tar").exists():
            write_tar(self.pool / "00000.tar", _pool(self.plan.scenes))
        for kind, split, count in (("train", "corpus", self.plan.boxes), ("test", "test", self.plan.tested)):
            if not (self.boxes(kind) / "split.json").exists():
                write_coco(split, self.boxes(kind), count, size=SIDE, novel=NOVEL, easy=True)

    def pretraining(self) -> tuple[npt.NDArray[np.uint8], list[list[str]]]:
        """The images uint8 [n, side, side, 3] of the part of the pool for pretraining, with their captions."""
        images, texts, seen = [], [], 0
        with tarfile.open(self.pool / "00000.tar") as tar:
            image = b""
            for member in tar:
                stream = tar.extractfile(member)
                assert stream is not None
                if member.name.endswith(".jpg"):
                    image = stream.read()
                elif member.name.endswith(".json"):
                    about = json.loads(stream.read())
                    seen += about["novel"]
                    if not about["novel"] or seen % KEPT == 0:
                        images.append(np.asarray(Image.open(io.BytesIO(image)).convert("RGB")))
                        texts.append(about["captions"])
        return np.stack(images), texts

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file."""
        write_atomic(str(self.root / name), json.dumps(value, indent=1) + "\n")


def _pool(count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    for number in range(count):
        scene = easy_scene("pool", number)
        texts = captions(scene).clean
        about = {"captions": list(texts), "novel": any(thing.type in NOVEL for thing in scene.objects)}
        image = encode_jpeg(render(scene, SIDE).image)
        yield f"{number:09d}", {"jpg": image, "json": json.dumps(about).encode(), "txt": texts[0].encode()}
