from __future__ import annotations

import dataclasses

from scenes.language.dense import LENGTH, dense_caption
from scenes.language.phrases import text_context
from scenes.world.facts import facts_hold
from scenes.world.sample import scenes
from scenes.world.scene import Scene, SceneObject

DOG = SceneObject("dog", x=0.2, y=0.8, size=1.0, depth=0.1, pose="running", target=1, hue=0.08, lightness=0.3)
APPLE = SceneObject("apple", x=0.75, y=0.8, size=1.0, depth=0.31, hue=0.0, saturation=0.8, pose="whole")
SCENE = Scene("x/0", "meadow", (DOG, APPLE))


def _sentences(scene: Scene, seed: int = 0) -> list[str]:
    return dense_caption(text_context(scene, seed))[0].split(". ")


def test_the_first_sentence_names_everything_and_the_place() -> None:
    first = _sentences(SCENE)[0]
    assert any(word in first for word in ("picture", "image", "photo"))
    assert "dog" in first or "puppy" in first
    assert first.endswith("in a meadow")


def test_the_action_with_its_target_is_a_sentence() -> None:
    assert "The dog is chasing the apple" in _sentences(SCENE)


def test_members_of_a_group_are_told_apart() -> None:
    green = dataclasses.replace(APPLE, x=0.2, depth=0.35, hue=0.33)
    text = dense_caption(text_context(Scene("x/1", "meadow", (APPLE, green))))[0]
    assert "of the apples, one is on the" in text.lower()
    assert "one is red and one is green" in text


def test_a_scene_without_seen_objects_is_described_by_its_place() -> None:
    text, facts = dense_caption(text_context(Scene("x/2", "beach", ())))
    assert text.startswith("The picture shows a scene ")
    assert ("place", "beach") in facts


def test_captions_keep_their_length_and_state_only_what_holds() -> None:
    for scene in scenes("pretrain", 0, 100):
        text, facts = dense_caption(text_context(scene))
        assert len(text.split()) <= LENGTH + 6
        assert facts_hold(scene, facts), text
