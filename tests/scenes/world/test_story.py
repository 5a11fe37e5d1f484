from __future__ import annotations

from scenes.world.facts import facts_hold
from scenes.world.geometry import seen
from scenes.world.story import story


def test_the_same_individuals_are_in_every_scene() -> None:
    for seed in range(30):
        steps = story(5, seed)
        casts = [{thing.entity for thing in step.scene.objects if thing.entity} for step in steps]
        assert set.intersection(*casts)
        looks = [{(t.entity, t.type, t.hue, t.seed) for t in step.scene.objects if t.entity} for step in steps]
        assert len(set.intersection(*looks)) >= 1


def test_sentences_are_true_and_name_the_individuals() -> None:
    for seed in range(40):
        for step in story(4, seed):
            assert facts_hold(step.scene, step.facts), step
            names = [step.scene.objects[i].entity for i in seen(step.scene) if step.scene.objects[i].entity]
            assert any(name in step.sentence for name in names if name)
            assert step.sentence.endswith(".")


def test_scenes_know_their_story_and_step() -> None:
    steps = story(3, "abc", story_id="tale")
    assert [(step.scene.story, step.scene.step, step.scene.id) for step in steps] == [
        ("tale", n, f"tale/{n}") for n in range(3)
    ]


def test_the_first_sentence_introduces() -> None:
    first = story(3, 1)[0]
    hero = next(thing for thing in first.scene.objects if thing.entity)
    assert f"{hero.entity} the {hero.type}" in first.sentence


def test_the_same_seed_tells_the_same() -> None:
    assert story(4, 9) == story(4, 9) != story(4, 10)
