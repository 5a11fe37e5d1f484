from __future__ import annotations

import dataclasses

import numpy as np

from scenes.drawing.paint import Layer, halve, look_up, paint, surface_noise
from scenes.drawing.palette import ObjectColors
from scenes.shapes.posing import build_template
from scenes.world.catalog import load_catalog
from scenes.world.scene import SceneObject

APPLE = SceneObject("apple", x=0.5, y=0.8, size=1.0, hue=0.0, saturation=0.8)


def _paint(thing: SceneObject, unit_height: float = 0.5, size: int = 96) -> Layer:
    kind = load_catalog().types[thing.type]
    template = build_template(kind.drawing, kind.poses[0], kind.poses[0])
    return paint(thing, template, ObjectColors(thing, kind.drawing), unit_height, size)


def test_halving_is_the_rounded_integer_mean_of_four_pixels() -> None:
    picture = (np.arange(40 * 52 * 4) * 7919 % 251).astype(np.uint8).reshape(40, 52, 4)
    wide = picture.astype(np.int32)
    mean = (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2] + 2) >> 2
    np.testing.assert_array_equal(halve(picture), mean)


def test_a_table_replaces_each_channel() -> None:
    table = np.stack([np.arange(256), 255 - np.arange(256), np.zeros(256)], axis=1).astype(np.uint8)[None]
    image = np.array([[[10, 20, 30]]], np.uint8)
    assert look_up(image, table).tolist() == [[[10, 235, 0]]]


def test_noise_follows_its_seed_and_stays_in_its_range() -> None:
    noise = surface_noise(40, 60, 6.0, 5)
    assert noise.shape == (40, 60)
    assert noise.min() >= -128
    assert noise.max() <= 127
    assert noise.std() > 10
    np.testing.assert_array_equal(noise, surface_noise(40, 60, 6.0, 5))
    assert (noise != surface_noise(40, 60, 6.0, 6)).any()


def test_a_layer_lies_where_its_object_stands_and_is_premultiplied() -> None:
    layer = _paint(APPLE)
    left, top, right, bottom = layer.box
    assert abs((left + right) / 2 - 48) < 1
    assert abs(bottom - 0.8 * 96) < 1
    assert abs((bottom - top) - 0.5 * 96) < 2
    rgba = layer.rgba.astype(int)
    assert (rgba[..., :3] <= rgba[..., 3:]).all()
    assert (rgba[..., 3] == 255).any()
    assert left - 4 < layer.left <= left
    assert top - 4 < layer.top <= top


def test_roughness_and_gloss_change_the_surface_but_not_the_silhouette() -> None:
    plain = _paint(APPLE).rgba.astype(int)
    for changed in (dataclasses.replace(APPLE, roughness=0.9), dataclasses.replace(APPLE, gloss=0.9)):
        other = _paint(changed).rgba.astype(int)
        np.testing.assert_array_equal(other[..., 3], plain[..., 3])
        assert (other[..., :3] != plain[..., :3]).mean() > 0.05
    glossy = _paint(dataclasses.replace(APPLE, gloss=0.9)).rgba.astype(int)
    assert (glossy[..., :3] >= plain[..., :3]).all()


def test_an_object_outside_the_image_is_cut_to_half_an_image_around_it() -> None:
    layer = _paint(dataclasses.replace(APPLE, x=1.0), unit_height=3.0)
    rows, columns = layer.rgba.shape[:2]
    assert rows <= 2 * 96 + 2
    assert columns <= 2 * 96 + 2
