"""Reads pretraining pairs from lean tars into flat arrays, from which `train_web_clip` takes its batches.

FOLDER/images.npy      uint8 [n, 72, 72, 3]   memory-mapped
FOLDER/tokens.npy      uint16 [n, context]: the alt text
FOLDER/tokenizer/      the byte-level BPE, learned from the alt texts
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from scenes.tars import write_split
from scenes.training.tokenizer import Tokens, train_tokenizer

IMAGE_SIZE = 72  # pixels a side; drawing is twice as fast as at 96
CONTEXT = 32  # tokens; nearly all alt texts have fewer


def pairs_of(tars: Path) -> Iterator[tuple[npt.NDArray[np.uint8], str]]:
    """The pictures uint8 [size, size, 3] and alt texts of a folder of tars, in order."""
    for path in sorted(tars.glob("*.tar")):
        with tarfile.open(path) as tar:
            image: npt.NDArray[np.uint8] | None = None
            for member in tar:
                stream = tar.extractfile(member)
                assert stream is not None
                if member.name.endswith(".jpg"):
                    image = np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))
                elif member.name.endswith(".txt"):
                    assert image is not None
                    yield image, stream.read().decode()


def prepare_web(out: Path, tars: Path, count: int, split: str = "web_pretrain", workers: int = 2) -> None:
    """Draw scenes 0..count of `split` into `tars`, unless they are there, and write the arrays from them.

    Nothing is done where the arrays are complete.
    """
    made = {"split": split, "count": count, "size": IMAGE_SIZE, "context": CONTEXT}
    done = out / "done.json"
    if done.exists() and json.loads(done.read_text()) == made:
        return
    write_split(split, tars, count, size=IMAGE_SIZE, workers=workers, lean=True)
    out.mkdir(parents=True, exist_ok=True)
    shape = (count, IMAGE_SIZE, IMAGE_SIZE, 3)
    images = np.lib.format.open_memmap(out / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    texts: list[str] = []
    for image, text in tqdm(pairs_of(tars), "images", count):
        images[len(texts)] = image
        texts.append(text)
    images.flush()
    train_tokenizer(texts, out / "tokenizer")
    np.save(out / "tokens.npy", Tokens(out / "tokenizer", CONTEXT).encode(texts))
    done.write_text(json.dumps(made))
