from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenes.gallery.contact_sheet import PAPER, draw_alone, main
from scenes.world.catalog import load_catalog


def test_an_object_fills_its_sheet_without_touching_the_edges() -> None:
    for name in ("dog", "flute", "giraffe"):
        picture = draw_alone(load_catalog().types[name], 96)
        drawn = (picture != np.array(PAPER, np.uint8)).any(axis=2)
        assert picture.shape == (96, 96, 3)
        assert 0.05 < drawn.mean() < 0.9
        assert not drawn[:, 0].any()
        assert not drawn[:, -1].any()


def test_fields_of_the_object_can_be_set() -> None:
    dog = load_catalog().types["dog"]
    assert (draw_alone(dog, 64) != draw_alone(dog, 64, hue=0.6)).any()
    assert (draw_alone(dog, 64) != draw_alone(dog, 64, "sleeping")).any()


@pytest.mark.parametrize(("options", "cells"), [([], 2), (["--extremes"], 2 * 8)])
def test_the_command_draws_the_named_types(tmp_path: Path, options: list[str], cells: int) -> None:
    out = tmp_path / "sheet.png"
    main([str(out), "mammals.json", "dog", "cat", "--cell", "32", *options])
    columns = min(cells, 8 if options else 10)
    with Image.open(out) as sheet:
        assert sheet.size == (columns * 32, -(-cells // columns) * (32 + 14))


def test_every_pose_is_drawn(tmp_path: Path) -> None:
    main([str(tmp_path / "poses.png"), "dog", "--poses", "--cell", "32"])
    with Image.open(tmp_path / "poses.png") as sheet:
        assert sheet.width == 32 * min(10, len(load_catalog().types["dog"].poses))
