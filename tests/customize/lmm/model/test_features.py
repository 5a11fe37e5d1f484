"""The cache of the vision tower's features: the same values, computed once, whatever happens to a writer."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from customize.lmm.model import features as module
from customize.lmm.model.features import VisionFeatures, tower_features
from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.source import LmmSource
from index.errors import BadInput, ClipmineError, OutputExists, StoreInvalid
from index.outputs import only_writer


@dataclass
class Picture:
    """A seeded picture that counts how often it is read."""

    key: str
    data: bytes
    reads: list[int] = field(default_factory=list)

    @property
    def read(self) -> Callable[[], bytes]:
        def read() -> bytes:
            self.reads.append(1)
            return self.data

        return read


def picture(number: int) -> Picture:
    pixels = np.random.default_rng(number).integers(0, 256, (20, 30 + number, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return Picture(f"image-{number}", stream.getvalue())


def pictures(count: int) -> list[Picture]:
    return [picture(number) for number in range(count)]


def plain_features(lmm: Lmm, images: list[Picture]) -> torch.Tensor:
    """The features as transformers computes them on its way to the projector, one image at a time."""
    caught: list[torch.Tensor] = []
    projector = lmm.llava.model.multi_modal_projector
    hook = projector.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    with torch.inference_mode():
        for image in images:
            opened = Image.open(io.BytesIO(image.data))
            pixels = lmm.processor.image_processor(images=[opened], return_tensors="pt")["pixel_values"]
            lmm.llava.get_image_features(pixel_values=pixels)
    hook.remove()
    return torch.cat(caught)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("float16", 2e-3), ("bfloat16", 2e-2)])
def test_cached_features_are_those_that_transformers_computes(
    lmm: Lmm, tmp_path: Path, dtype: Any, error: float
) -> None:
    images = pictures(5)
    cached = VisionFeatures(lmm, str(tmp_path), dtype=dtype).get(images)
    assert (cached.shape, cached.dtype) == ((5, 4, 32), getattr(torch, dtype))
    torch.testing.assert_close(cached.float(), plain_features(lmm, images), rtol=error, atol=error)
    assert torch.equal(VisionFeatures(lmm, str(tmp_path), dtype=dtype).get(images), cached)
    torch.testing.assert_close(VisionFeatures(lmm, None, dtype=dtype).get(images), cached)


def test_several_layers_and_all_tokens_are_taken_as_the_configuration_says(lmm: Lmm) -> None:
    lmm.llava.config.vision_feature_layer = [-2, -1]
    pixels = torch.randn(2, 3, 28, 28)
    assert tower_features(lmm, pixels).shape == (2, 4, 64)
    lmm.llava.config.vision_feature_select_strategy = "full"
    assert tower_features(lmm, pixels).shape == (2, 5, 64)


def test_an_image_is_read_once_whoever_asks_again(lmm: Lmm, tmp_path: Path) -> None:
    images = pictures(3)
    first = VisionFeatures(lmm, str(tmp_path))
    first.get([images[0], images[1], images[0]])
    assert [len(image.reads) for image in images] == [1, 1, 0]
    again = VisionFeatures(lmm, str(tmp_path))
    assert images[1].key in again
    assert images[2].key not in again
    repeated = again.get([images[2], images[0], images[2]])
    assert [len(image.reads) for image in images] == [1, 1, 1]
    assert torch.equal(repeated[0], repeated[2])
    torch.testing.assert_close(repeated[1:2].float(), plain_features(lmm, images[:1]), rtol=2e-3, atol=2e-3)


def test_rows_go_on_in_the_next_file(lmm: Lmm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    monkeypatch.setattr(module, "BATCH", 2)
    images = pictures(8)
    filled = VisionFeatures(lmm, str(tmp_path))
    progress: list[tuple[int, int]] = []
    assert filled.fill(images, lambda done, total: progress.append((done, total))) == {}
    assert progress == [(2, 8), (4, 8), (6, 8), (8, 8)]
    files = sorted(path.name for path in tmp_path.rglob("*.rows"))
    assert files == ["00000.rows", "00001.rows", "00002.rows"]
    expected = plain_features(lmm, images)
    torch.testing.assert_close(filled.get(images).float(), expected, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(
        VisionFeatures(lmm, str(tmp_path)).get(images[::-1]).float(), expected.flip(0), rtol=2e-3, atol=2e-3
    )


def test_a_batch_that_grows_the_file_is_seen_by_an_open_reader(lmm: Lmm, tmp_path: Path) -> None:
    images = pictures(4)
    features = VisionFeatures(lmm, str(tmp_path))
    features.get(images[:2])
    torch.testing.assert_close(features.get(images).float(), plain_features(lmm, images), rtol=2e-3, atol=2e-3)


def test_parts_of_several_writers_are_read_together(lmm: Lmm, tmp_path: Path) -> None:
    images = pictures(5)
    first, second = (VisionFeatures(lmm, str(tmp_path), part=part) for part in (0, 1))
    first.fill(images[:3])
    second.fill(images[3:])
    first.refresh()
    found = first.get(images)
    assert [len(image.reads) for image in images] == [1, 1, 1, 1, 1]
    torch.testing.assert_close(found.float(), plain_features(lmm, images), rtol=2e-3, atol=2e-3)


def test_two_processes_do_not_write_one_part(lmm: Lmm, tmp_path: Path) -> None:
    features = VisionFeatures(lmm, str(tmp_path))
    part = next(path for path in tmp_path.iterdir() if path.is_dir()) / "0000"
    with only_writer(str(part)), pytest.raises(OutputExists, match="another process is writing there"):
        features.get(pictures(1))


def test_what_a_killed_writer_left_in_part_is_computed_again(lmm: Lmm, tmp_path: Path) -> None:
    images = pictures(4)
    VisionFeatures(lmm, str(tmp_path)).fill(images[:2])
    rows, index = next(tmp_path.rglob("*.rows")), next(tmp_path.rglob("images.txt"))
    with rows.open("ab") as stream:  # killed between features and keys, within a row
        stream.write(b"\1" * 300)
    with index.open("a") as stream:  # killed within a key
        stream.write("image-")
    again = VisionFeatures(lmm, str(tmp_path))
    assert [image.key in again for image in images] == [True, True, False, False]
    torch.testing.assert_close(again.get(images).float(), plain_features(lmm, images), rtol=2e-3, atol=2e-3)
    assert index.read_text().split() == [image.key for image in images]


KILLED = """
import os, signal, sys
from customize.lmm.model import features
from customize.lmm.model.features import VisionFeatures
from customize.lmm.model.load import load_lmm
from customize.lmm.model.source import LmmSource
from tests.customize.lmm.model.test_features import pictures
features.BATCH = 2
lmm = load_lmm(LmmSource(model=sys.argv[1]))
VisionFeatures(lmm, sys.argv[2]).fill(
    pictures(8), lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done >= 4 else None
)
"""


def test_a_run_that_is_killed_goes_on_where_it_was(lmm: Lmm, checkpoints: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", KILLED, str(checkpoints / "llava"), str(tmp_path)]
    killed = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-500:]
    images = pictures(8)
    again = VisionFeatures(lmm, str(tmp_path))
    assert [image.key in again for image in images] == [True] * 4 + [False] * 4
    torch.testing.assert_close(again.get(images).float(), plain_features(lmm, images), rtol=2e-3, atol=2e-3)
    assert [len(image.reads) for image in images] == [0] * 4 + [1] * 4


def test_another_tower_preprocessing_layer_or_dtype_has_its_own_features(
    lmm: Lmm, checkpoints: Path, tmp_path: Path
) -> None:
    def folders() -> int:
        return len(list(tmp_path.iterdir()))

    VisionFeatures(lmm, str(tmp_path)).fill(pictures(1))
    VisionFeatures(load_lmm(LmmSource(model=str(checkpoints / "llava"))), str(tmp_path))
    assert folders() == 1
    cropped = load_lmm(LmmSource(model=str(checkpoints / "llava"), pad_to_square=False))
    assert picture(0).key not in VisionFeatures(cropped, str(tmp_path))
    VisionFeatures(load_lmm(LmmSource(model=str(checkpoints / "original"))), str(tmp_path))
    VisionFeatures(lmm, str(tmp_path), dtype="bfloat16")
    VisionFeatures(load_lmm(LmmSource(model=str(checkpoints / "llava")), dtype="bfloat16"), str(tmp_path))
    assert folders() == 5


def test_the_estimate_is_rows_times_tokens_times_width_times_bytes(
    lmm: Lmm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, images = VisionFeatures(lmm, str(tmp_path)), pictures(3)
    assert features.estimate([*images, images[0]]) == 3 * 4 * 32 * 2
    features.fill(images[:1])
    assert features.estimate(images) == 2 * 4 * 32 * 2
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
    with pytest.raises(BadInput, match=r"the features of 2 images take 0\.0 GB, and the disk has 0\.0 GB free"):
        features.fill(images)
    assert len(images[1].reads) == 0


def test_images_that_cannot_be_used_are_named_and_the_others_kept(lmm: Lmm, tmp_path: Path) -> None:
    def missing() -> bytes:
        raise ClipmineError("there is no such file")

    good, broken, text = picture(0), Picture("broken", picture(1).data[:200]), Picture("text", b"<html>")
    gone, named = SimpleNamespace(key="gone", read=missing), Picture("two\nlines", picture(2).data)
    features = VisionFeatures(lmm, str(tmp_path))
    assert features.fill([gone, broken, text, named, good]) == {
        "gone": "there is no such file",
        "broken": "cannot be used (broken_image)",
        "text": "cannot be used (unknown_format)",
        "two\nlines": "its key has a line break",
    }
    assert good.key in features
    for images in (features, VisionFeatures(lmm, None)):
        with pytest.raises(ClipmineError, match=r"image text: cannot be used \(unknown_format\)"):
            images.get([good, text])


def test_files_that_are_cut_off_or_damaged_are_one_line(lmm: Lmm, tmp_path: Path) -> None:
    images = pictures(2)
    VisionFeatures(lmm, str(tmp_path)).fill(images)
    rows = next(tmp_path.rglob("*.rows"))
    rows.write_bytes(rows.read_bytes()[:300])
    with pytest.raises(StoreInvalid, match=r"00000\.rows: is cut off"):
        VisionFeatures(lmm, str(tmp_path))  # before any image is taken for one that cannot be read
    next(tmp_path.rglob("features.json")).write_text("{")
    with pytest.raises(StoreInvalid, match=r"features\.json: is damaged"):
        VisionFeatures(lmm, str(tmp_path))


def test_a_cache_of_another_dtype_or_without_a_folder_is_refused(lmm: Lmm) -> None:
    with pytest.raises(BadInput, match="choose float16, bfloat16, float32"):
        VisionFeatures(lmm, None, dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="without a folder"):
        VisionFeatures(lmm, None).fill(pictures(1))
    assert VisionFeatures(lmm, None).get([]).shape == (0, 4, 32)


def test_features_that_do_not_fit_the_dtype_are_one_line(lmm: Lmm, tmp_path: Path) -> None:
    with torch.no_grad():
        lmm.llava.model.vision_tower.pre_layrnorm.bias.fill_(1e6)
    with pytest.raises(BadInput, match="not finite in float16"):
        VisionFeatures(lmm, str(tmp_path)).get(pictures(1))
