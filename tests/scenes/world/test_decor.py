from __future__ import annotations

from scenes.language.captions import captions
from scenes.world.catalog import load_catalog
from scenes.world.decor import DECOR, shown_by_background
from scenes.world.facts import fact_holds
from scenes.world.sample import scenes
from scenes.world.scene import Scene, SceneObject


def test_every_place_says_what_its_background_shows() -> None:
    assert set(DECOR) == set(load_catalog().places)


def test_trees_of_a_forest_are_neither_counted_nor_denied() -> None:
    dog = SceneObject("dog", x=0.5, y=0.8, size=1.0)
    forest = Scene("x/0", "forest", (dog,))
    assert shown_by_background("forest", "tree")
    assert shown_by_background("forest", "pine tree")
    assert not shown_by_background("forest", "dog")
    assert not fact_holds(forest, ("absent", "tree"))
    assert not fact_holds(forest, ("count", "tree", 0))
    assert fact_holds(forest, ("absent", "cat"))


def test_captions_do_not_count_what_the_background_has_as_well() -> None:
    told = 0
    for scene in scenes("pretrain", 0, 1500):
        names = [thing.type for thing in scene.objects]
        if not any(names.count(name) > 1 and shown_by_background(scene.place, name) for name in names):
            continue
        told += 1
        said = captions(scene)
        assert all(fact_holds(scene, fact) for facts in (*said.clean_facts, said.dense_facts) for fact in facts)
    assert told > 0
