from __future__ import annotations

from scenes.world.catalog import load_catalog
from scenes.world.decor import DECOR, shown_by_background
from scenes.world.facts import fact_holds
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


def test_a_type_is_shown_by_its_synonyms_and_narrow_categories_only() -> None:
    assert shown_by_background("street", "street lamp")
    assert not shown_by_background("kitchen", "sofa")  # furniture is shown there, but no sofa
    assert not shown_by_background("meadow", "nothing of the catalog")


def test_every_name_is_lower_case_and_stands_once_in_its_place() -> None:
    for names in DECOR.values():
        assert len(set(names)) == len(names)
        assert all(name == name.lower() for name in names)
