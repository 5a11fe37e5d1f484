from __future__ import annotations

import dataclasses
import itertools

from scenes.comparing.axes import CAD_AXES
from scenes.comparing.commonalities import common_statements, described, doing_text, facts_of_doing
from scenes.comparing.compare import match
from scenes.world.facts import facts_hold
from scenes.world.sample import scenes
from scenes.world.scene import Scene, SceneObject

DOG = SceneObject("dog", x=0.25, y=0.8, size=1.0, depth=0.3, pose="running", target=1, hue=0.08, lightness=0.3)
APPLE = SceneObject("apple", x=0.75, y=0.8, size=1.6, depth=0.31, hue=0.0, saturation=0.8, gloss=0.9, pose="whole")
SCENE = Scene("x/0", "meadow", (DOG, APPLE))


def _texts(a: Scene, b: Scene) -> list[str]:
    return [text for _, text, _, _ in common_statements(a, b, match(a, b))]


def test_an_action_is_told_with_its_target_and_stated_as_a_fact() -> None:
    assert doing_text(SCENE, 0) == "chasing the apple"
    assert facts_of_doing(SCENE, 0) == (("action", 0, "chasing", 1),)
    alone = dataclasses.replace(SCENE, objects=(dataclasses.replace(DOG, target=None), APPLE))
    assert doing_text(alone, 0) == "running"
    assert facts_of_doing(alone, 0) == (("pose", 0, "running"),)


def test_an_object_is_described_by_its_clear_attributes() -> None:
    assert described(APPLE) == {"color": "red", "size": "big", "texture": "glossy"}


def test_equal_scenes_share_objects_attributes_actions_place_and_relations() -> None:
    assert _texts(SCENE, dataclasses.replace(SCENE, id="x/1")) == [
        "Both images show a dog and an apple.",
        "The dog is brown in both images.",
        "The dog is chasing the apple in both images.",
        "The apple is red, big and glossy in both images.",
        "Both images are set in a meadow.",
        "Both images were taken by day.",
        "The dog is to the left of the apple in both images.",
        "The dog is next to the apple in both images.",
        "The apple is next to the dog in both images.",
    ]


def test_a_shared_setting_is_weaker_where_the_place_differs() -> None:
    texts = _texts(SCENE, dataclasses.replace(SCENE, place="beach"))
    assert "Both images were taken outdoors." in texts
    assert not any("meadow" in text for text in texts)
    assert not any(
        "outdoors" in text or "indoors" in text for text in _texts(SCENE, dataclasses.replace(SCENE, place="kitchen"))
    )


def test_statements_are_true_of_both_scenes() -> None:
    some = list(scenes("corpus", 0, 60))
    for a, b in itertools.pairwise(some):
        for axis, text, facts_a, facts_b in common_statements(a, b, match(a, b)):
            assert axis in CAD_AXES
            assert facts_hold(a, facts_a), text
            assert facts_hold(b, facts_b), text
