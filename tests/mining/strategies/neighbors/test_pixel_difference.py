"""Copies of a picture, compressed or resized, are the same; edits of a part of it differ, and where."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import in_process
from mining.strategies.neighbors import pixel_difference as module
from mining.strategies.neighbors.pixel_difference import needs_pixels, pixel_difference, pixel_differences, reduced
from scenes.drawing.render import render
from scenes.world.sample import sample
from tests.folders import file_times
from tests.mining.conftest import mining_context
from tests.retrieval.stores import make_store, random_unit


def encoded(image: Image.Image, kind: str = "JPEG", **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def again(image: Image.Image, kind: str = "JPEG", **options: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, kind, **options))).convert("RGB")


PICTURE = Image.fromarray(render(sample("corpus", 7), 256).image)


@pytest.mark.parametrize(
    "copy",
    [
        PICTURE,
        again(PICTURE, quality=50),
        again(PICTURE, "WEBP", quality=60),
        again(PICTURE.resize((128, 128), Image.Resampling.LANCZOS), quality=85),
        again(PICTURE.resize((390, 390), Image.Resampling.BICUBIC), quality=85),
    ],
    ids=["bytes", "jpeg", "webp", "half", "larger"],
)
def test_a_copy_is_the_same_picture(copy: Image.Image) -> None:
    assert pixel_difference(reduced(PICTURE), reduced(copy))[0] is False


@pytest.mark.parametrize("box", [(10, 10, 40, 40), (200, 120, 230, 160)])
def test_a_part_of_another_color_differs_there(box: tuple[int, int, int, int]) -> None:
    edited = PICTURE.copy()
    edited.paste((250, 20, 20), box)
    different, share, found = pixel_difference(reduced(PICTURE), reduced(again(edited, quality=90)))
    assert different
    assert 0.005 < share < 0.1
    left, top, right, bottom = (256 * each for each in found)
    assert (left, top, right, bottom) == pytest.approx(box, abs=14)


def test_a_darker_picture_differs_everywhere() -> None:
    darker = Image.fromarray((np.asarray(PICTURE) * 0.8).astype(np.uint8))
    different, share, _ = pixel_difference(reduced(PICTURE), reduced(darker))
    assert different
    assert share > 0.3


def test_pairs_of_a_store_are_compared_in_items_and_what_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ITEM_PAIRS", 2)
    edited = PICTURE.copy()
    edited.paste((250, 20, 20), (10, 10, 60, 60))
    files = [encoded(PICTURE, quality=95), encoded(PICTURE, quality=60), encoded(edited, quality=90), b"no image"]
    store = make_store(tmp_path, random_unit(4), images=files)
    ctx = mining_context(store, tmp_path, "similar")
    pairs = np.array([[0, 1], [0, 2], [1, 3]])
    said = pixel_differences(ctx, in_process(ctx), pairs)
    assert said.readable.tolist() == [True, True, False]
    assert said.different.tolist() == [False, True, False]
    assert said.share[1] > 0
    written = {name: time for name, time in file_times(tmp_path / "work").items() if name.endswith(".npz")}
    assert len(written) == 2
    pixel_differences(ctx, in_process(ctx), pairs)
    assert {name: time for name, time in file_times(tmp_path / "work").items() if name.endswith(".npz")} == written


def test_a_store_without_images_is_refused_in_a_line(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4), local=False)
    with pytest.raises(BadInput, match=r"embeddings without images, and --ceiling compares their pixels"):
        needs_pixels(EmbeddingStore.open(store.path), "--ceiling")
