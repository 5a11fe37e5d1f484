from __future__ import annotations

import dataclasses
import json

import pytest

from scenes.world.sample import scenes
from scenes.world.scene import ATTRIBUTES, VERSION, Background, Scene, SceneObject, from_json, to_json

SCENE = Scene("x/0", "meadow", (SceneObject("dog", x=0.3, y=0.8, size=1.0, target=1, entity="Rex"),), light="night")


def test_scenes_survive_json_as_text_and_as_an_object() -> None:
    for scene in (SCENE, *scenes("corpus", 0, 50)):
        assert from_json(to_json(scene)) == scene
        assert from_json(json.loads(to_json(scene))) == scene


def test_equal_scenes_give_equal_text_without_spaces() -> None:
    text = to_json(SCENE)
    assert text == to_json(dataclasses.replace(SCENE))
    assert " " not in text
    assert text != to_json(dataclasses.replace(SCENE, background=Background(seed=1)))


def test_a_scene_of_another_version_is_refused() -> None:
    data = json.loads(to_json(SCENE)) | {"version": VERSION + 1}
    with pytest.raises(ValueError, match=f"scene of version {VERSION + 1}; this code reads version {VERSION}"):
        from_json(data)


def test_attributes_are_fields_of_an_object_and_begin_within_their_range() -> None:
    thing = SceneObject("dog", x=0.5, y=0.5, size=1.0)
    assert all(0 <= getattr(thing, name) <= 1 for name in ATTRIBUTES)
