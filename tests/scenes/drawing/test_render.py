"""Drawing scenes: deterministic, local, consistent with the truth."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scenes.drawing.render import Rendered, render
from scenes.world.catalog import LIGHTS, VIEWS, load_catalog
from scenes.world.scene import ATTRIBUTES, Background, Scene, SceneObject

ROOT = Path(__file__).parents[3]


def _thing(name: str, x: float, y: float, **fields: float | int | str) -> SceneObject:
    return SceneObject(type=name, x=x, y=y, size=0.9, **fields)  # type: ignore[arg-type]


def _scene(**fields: str) -> Scene:
    objects = (
        _thing("dog", 0.35, 0.9, depth=0.1, hue=0.08, pose="running", roughness=0.4, seed=5),
        _thing("horse", 0.55, 0.75, depth=0.5, hue=0.06, facing="right"),
        _thing("butterfly", 0.8, 0.4, depth=0.2, hue=0.6, gloss=0.8),
    )
    return Scene(id="test/0", place=fields.pop("place", "meadow"), objects=objects, **fields)  # type: ignore[arg-type]


def _digest(picture: Rendered) -> str:
    arrays = (picture.image, picture.mask, picture.boxes, picture.visible, picture.extents)
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def test_arrays_have_the_promised_shapes_and_types() -> None:
    picture = render(_scene(), 80)
    assert picture.image.shape == (80, 80, 3)
    assert picture.image.dtype == np.uint8
    assert picture.mask.shape == (80, 80)
    assert picture.mask.dtype == np.uint8
    assert picture.boxes.shape == (3, 4)
    assert picture.boxes.dtype == np.float32
    assert picture.visible.shape == (3,)
    assert picture.extents.shape == (3, 80, 80)
    assert picture.extents.dtype == np.bool_


def test_another_process_draws_the_same_bytes() -> None:
    program = (
        "from tests.scenes.drawing.test_render import _digest, _scene, render\n"
        "print(_digest(render(_scene(light='dusk', view='low'), 96)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", program]
    other = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, cwd=ROOT)
    assert other.stdout.strip() == _digest(render(_scene(light="dusk", view="low"), 96))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_changing_an_attribute_changes_pixels_within_its_extent_only(name: str) -> None:
    before = _scene()
    for index in range(3):
        value = 0.95 if getattr(before.objects[index], name) < 0.6 else 0.1
        changed = dataclasses.replace(before.objects[index], **{name: value})  # type: ignore[arg-type]
        objects = (*before.objects[:index], changed, *before.objects[index + 1 :])
        first, second = render(before), render(dataclasses.replace(before, objects=objects))
        differs = (first.image != second.image).any(axis=2)
        touched = first.extents[index] | second.extents[index]
        assert not (differs & ~touched).any()
        assert differs.any(), f"{name} of {changed.type} shows nothing"


def test_moving_turning_or_removing_an_object_leaves_the_rest_identical() -> None:
    scene = _scene(light="night")
    dog = scene.objects[0]
    first = render(scene)
    for other in (
        dataclasses.replace(dog, x=0.6),
        dataclasses.replace(dog, facing="right"),
        dataclasses.replace(dog, pose="sleeping"),
        dataclasses.replace(dog, depth=0.9),
        dataclasses.replace(dog, type="cat"),
    ):
        second = render(dataclasses.replace(scene, objects=(other, *scene.objects[1:])))
        touched = first.extents[0] | second.extents[0]
        assert not ((first.image != second.image).any(axis=2) & ~touched).any()
    gone = render(dataclasses.replace(scene, objects=scene.objects[1:]))
    assert not ((first.image != gone.image).any(axis=2) & ~first.extents[0]).any()


def test_nearer_objects_hide_farther_ones_in_image_and_mask() -> None:
    near, far = _thing("car", 0.5, 0.9, depth=0.1), _thing("horse", 0.5, 0.88, depth=0.6)
    both = render(Scene(id="t", place="street", objects=(far, near)))
    alone = render(Scene(id="t", place="street", objects=(near,)))
    assert ((alone.mask == 1) == (both.mask == 2)).all()
    assert both.visible[1] == pytest.approx(1.0)
    assert 0 < both.visible[0] < 0.9
    inner = both.mask == 2
    # A pixel wholly covered by the nearer object shows nothing of the farther one.
    solid = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    same = (both.image == alone.image).all(axis=2)[1:-1, 1:-1]
    assert same[solid].mean() > 0.99


def test_boxes_frame_the_visible_pixels_of_the_mask() -> None:
    picture = render(_scene())
    for index, box in enumerate(picture.boxes):
        rows, columns = np.nonzero(picture.mask == index + 1)
        np.testing.assert_array_equal(box, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))


def test_a_wholly_hidden_or_absent_object_has_no_box() -> None:
    scene = Scene(id="t", place="meadow", objects=(_thing("dog", 3.0, 0.9), _thing("ant", 0.5, 0.8)))
    picture = render(scene)
    assert picture.visible[0] == 0
    assert not picture.boxes[0].any()
    assert not picture.extents[0].any()


def test_an_object_stands_on_its_contact_point_with_its_type_s_height() -> None:
    kind = load_catalog().types["horse"]
    picture = render(Scene(id="t", place="meadow", objects=(_thing("horse", 0.5, 0.9),)), 256)
    left, top, right, bottom = picture.boxes[0] / 256
    assert bottom == pytest.approx(0.9, abs=0.015)
    assert (left + right) / 2 == pytest.approx(0.5, abs=0.015)
    assert bottom - top == pytest.approx(0.9 * kind.size, abs=0.03)
    assert right - left == pytest.approx(0.9 * kind.size * kind.aspect, abs=0.04)


def test_facing_mirrors_the_silhouette() -> None:
    sides = [
        render(Scene(id="t", place="meadow", objects=(_thing("dog", 0.5, 0.9, facing=facing),)))
        for facing in ("left", "right")
    ]
    assert ((sides[0].mask > 0) == (sides[1].mask > 0)[:, ::-1]).mean() > 0.99


@pytest.mark.parametrize("size", [32, 200, 512])
def test_any_size_shows_the_same_picture(size: int) -> None:
    reference, other = render(_scene(), 96), render(_scene(), size)
    shares = [np.bincount(picture.mask.ravel(), minlength=4) / picture.mask.size for picture in (reference, other)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.02)
    np.testing.assert_allclose(reference.boxes[0] / 96, other.boxes[0] / size, atol=0.05)
    blocks = [picture.image.astype(float) for picture in (reference, other)]
    means = [block[: len(block) // 2].mean(axis=(0, 1)) for block in blocks]
    np.testing.assert_allclose(means[0], means[1], atol=6)


def test_every_place_light_and_view_is_drawn_and_differs() -> None:
    seen: set[bytes] = set()
    places = load_catalog().places
    for name in places:
        for light in LIGHTS:
            for view in VIEWS:
                seen.add(render(Scene(id="t", place=name, objects=(), light=light, view=view), 48).image.tobytes())
    assert len(seen) == len(places) * len(LIGHTS) * len(VIEWS)


def test_a_background_seed_or_tint_changes_the_decor() -> None:
    scene = _scene()
    pictures = [
        render(dataclasses.replace(scene, background=background))
        for background in (Background(), Background(seed=1), Background(tint=0.8))
    ]
    assert len({picture.image.tobytes() for picture in pictures}) == 3
    assert len({picture.mask.tobytes() for picture in pictures}) == 1


def test_every_type_is_drawn_whole() -> None:
    for kind in load_catalog().types.values():
        size = 0.75 / max(kind.size, kind.size * kind.aspect)
        thing = SceneObject(type=kind.name, x=0.5, y=0.95, size=size, pose=kind.poses[-1])
        picture = render(Scene(id="t", place="meadow", objects=(thing,)), 40)
        assert picture.visible[0] > 0.5, f"{kind.name} {thing.pose} is hardly there"
