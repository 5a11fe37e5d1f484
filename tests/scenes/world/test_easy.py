"""The easy world: determinism, splits, and what makes it easy."""

from __future__ import annotations

from collections import Counter

import pytest

from scenes.world.catalog import load_catalog
from scenes.world.easy import EASY_TYPES, easy_scene, easy_types
from scenes.world.geometry import seen
from scenes.world.scene import to_json
from scenes.world.splits import SPLITS, held_out


def test_a_scene_is_the_same_at_every_call() -> None:
    assert to_json(easy_scene("corpus", 7)) == to_json(easy_scene("corpus", 7))
    assert easy_scene("corpus", 7).id == "easy-corpus/7"


def test_splits_share_no_background() -> None:
    for split in ("language", "corpus", "pool", "validation", "test"):
        last_digits = {easy_scene(split, number).background.seed % 10 for number in range(5)}
        assert last_digits == {list(SPLITS).index(split)}


def test_scenes_have_one_to_four_seen_objects_of_easy_types_without_names() -> None:
    scenes = [easy_scene("language", number) for number in range(150)]
    assert {thing.type for scene in scenes for thing in scene.objects} <= set(EASY_TYPES)
    assert all(len(seen(scene)) == len(scene.objects) for scene in scenes)
    assert all(thing.entity is None for scene in scenes for thing in scene.objects)
    counts = Counter(len(scene.objects) for scene in scenes)
    assert set(counts) == {1, 2, 3, 4}
    assert any(thing.target is not None for scene in scenes for thing in scene.objects)


def test_held_out_compositions_are_shown_by_the_test_split_alone() -> None:
    assert not any(held_out(easy_scene("language", number)) for number in range(100))
    assert any(held_out(easy_scene("test", number)) for number in range(100))


def test_easy_types_are_in_the_catalog_and_a_place_has_those_that_fit() -> None:
    assert set(EASY_TYPES) <= set(load_catalog().types)
    assert [kind.name for kind in easy_types("sea")] == ["airplane", "boat"]


def test_an_unknown_split_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        easy_scene("nowhere", 0)
