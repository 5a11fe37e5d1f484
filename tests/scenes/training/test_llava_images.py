"""Drawn scenes as arrays: the images of the scenes, and how much of each patch an object covers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenes.drawing.render import render
from scenes.training.llava_images import GRID, OBJECTS, coverage, main, prepare_images
from scenes.world.easy import easy_scene


def test_arrays_have_the_scenes_of_the_split_in_order(tmp_path: Path) -> None:
    prepare_images(tmp_path, "corpus", 3, workers=1)
    images, covered = (np.load(tmp_path / f"{name}.npy") for name in ("images", "covered"))
    drawn = render(easy_scene("corpus", 2))
    np.testing.assert_array_equal(images[2], drawn.image)
    np.testing.assert_array_equal(covered[2], coverage(drawn.mask))


def test_coverage_is_the_share_of_a_patch_in_255ths() -> None:
    mask = np.zeros((96, 96), np.uint8)
    mask[:24, :24] = 1
    mask[24:36, :24] = 2
    shares = coverage(mask)
    assert shares.shape == (OBJECTS, GRID * GRID)
    assert shares[0].tolist() == [255] + [0] * 15
    assert shares[1, GRID] == 128
    assert not shares[2:].any()


def test_a_finished_folder_is_not_drawn_again(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--split", "pool", "--count", "2", "--workers", "1"])
    before = (tmp_path / "images.npy").stat().st_mtime_ns
    prepare_images(tmp_path, "pool", 2, workers=1)
    assert (tmp_path / "images.npy").stat().st_mtime_ns == before
