"""The rows of a sequence's store: vectors with clusters, near-copies and equal rows, and the samples that have them.

Row i of a store is row i here, whatever was done to the store, so that an answer can be checked by its row ids. The
store is embedded by the real job from tars of small PNG files, whose first pixel is the row's number and takes the
place of a model; or it is adopted from files that look like clip-retrieval's.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.retrieval.stores import MODEL

Halves = npt.NDArray[np.float16]
WIDTHS = 5  # an image has 4, 5, ... pixels in a row, by its row id


class World:
    """All rows that a store may come to have, by row id, and queries like its captions."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed, self.most = seed, 2_400
        self.dim = int(rng.choice([16, 24, 32]))
        self.clusters = int(rng.integers(5, 14))
        self.kind = str(rng.choice(["embedded", "adopted"]))
        count = self.most + 300
        self.cluster = rng.integers(0, self.clusters, count)
        centers, gap = rng.normal(size=(self.clusters, self.dim)), rng.normal(size=(2, self.dim))
        shared = centers[self.cluster] + 0.6 * rng.normal(size=(count, self.dim))
        image, text = (shared + 0.6 * rng.normal(size=shared.shape) + 1.5 * side for side in gap)
        rows = rng.permutation(self.most)
        near, equal, of = rows[: self.most // 8], rows[-self.most // 30 :], rows[self.most // 2 :][:4]
        image[near] = image[of[near % 4]] + 0.01 * rng.normal(size=(len(near), self.dim))
        image[equal] = image[of[0]]
        self.image, self.text, self.queries = _unit(image), _unit(text), _unit(text[self.most :])

    def vectors(self, modality: str) -> Halves:
        """[most + 300, dim]: the vectors of all rows."""
        return self.text if modality == "text" else self.image

    def metadata(self, row: int) -> dict[str, Any]:
        """What a store says of a row."""
        return {"key": f"k{row:06d}", "caption": self.caption(row), "url": f"http://example.org/{row}.png"}

    def caption(self, row: int) -> str:
        """The row's caption."""
        return f"thing {self.cluster[row]}, number {row}"

    def add_samples(self, folder: Path, number: int, first: int, last: int) -> None:
        """Write the samples of rows first .. last - 1 as the source's part `number`."""
        if self.kind == "adopted":
            self._add_foreign_part(folder, number, first, last)
        else:
            self._add_tar(folder, number, first, last)

    def _add_tar(self, folder: Path, number: int, first: int, last: int) -> None:
        folder.mkdir(exist_ok=True)
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for row in range(first, last):
                known = self.metadata(row)
                side_car = json.dumps({"url": known["url"], "key": known["key"]}).encode()
                files = {"png": png(row), "txt": known["caption"].encode(), "json": side_car}
                for ending, data in files.items():
                    member = tarfile.TarInfo(f"{known['key']}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        (folder / f"{number:05d}.tar").write_bytes(stream.getvalue())

    def _add_foreign_part(self, folder: Path, number: int, first: int, last: int) -> None:
        for kind, vectors in (("img_emb", self.image), ("text_emb", self.text)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            np.save(folder / kind / f"{kind}_{number}.npy", vectors[first:last])
        rows = range(first, last)
        known = [self.metadata(row) for row in rows]
        (folder / "metadata").mkdir(exist_ok=True)
        columns: dict[str, Any] = {name: [row[name] for row in known] for name in ("key", "caption", "url")}
        columns |= {"width": [width(row) for row in rows], "height": [4] * len(rows)}
        columns |= {"sha256": [hashlib.sha256(png(row)).hexdigest() for row in rows], "NSFW": ["UNLIKELY"] * len(rows)}
        pq.write_table(pa.table(columns), folder / "metadata" / f"metadata_{number}.parquet")


def width(row: int) -> int:
    """The width of a row's image in pixels."""
    return 4 + row % WIDTHS


def png(row: int) -> bytes:
    """A row's image: its first pixel is the row id."""
    pixels = np.zeros((4, width(row), 3), np.uint8)
    pixels[0, 0] = row >> 16, row >> 8 & 255, row & 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


class _Tokens(NamedTuple):
    ids: npt.NDArray[np.int64]
    cut: list[bool]


class TableEncoder:
    """Stands for a CLIP model: it gives a row's vectors to the row's image and caption, and words to prompts."""

    context_length = 77

    def __init__(self, world: World, fingerprint: dict[str, Any] | None = None) -> None:
        self.world, self.dim = world, world.dim
        self.fingerprint: dict[str, Any] = fingerprint or {**MODEL, "dim": world.dim}

    def to_pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        return np.asarray(image)[:4, :4]

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> Halves:
        first = pixels[:, 0, 0].astype(np.int64)
        rows: Halves = self.world.image[first[:, 0] << 16 | first[:, 1] << 8 | first[:, 2]]
        return rows

    def tokenize(self, captions: list[str]) -> _Tokens:
        return _Tokens(np.array([int(text.rpartition(" ")[2]) for text in captions], np.int64), [False] * len(captions))

    def encode_tokens(self, ids: npt.NDArray[np.int64]) -> Halves:
        return self.world.text[ids]

    def encode_queries(self, texts: list[str], *, repeatable: bool = True) -> tuple[Halves, list[bool]]:
        return self.world.queries[[query_number(text) for text in texts]], [False] * len(texts)

    def count_long(self, texts: list[str]) -> int:
        return 0


def query_number(prompt: str) -> int:
    """The query that stands for a prompt: the number in it."""
    return int("".join(letter for letter in prompt if letter.isdigit()))


def _unit(vectors: npt.NDArray[np.float64]) -> Halves:
    rows: Halves = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return rows
