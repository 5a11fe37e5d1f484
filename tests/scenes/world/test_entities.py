from __future__ import annotations

from scenes.world.catalog import load_catalog
from scenes.world.entities import PER_TYPE, draw_look, individuals, individuals_by_type, named
from scenes.world.seeded_random import rng_of


def test_every_living_type_that_acts_has_named_individuals() -> None:
    types = load_catalog().types
    assert set(individuals_by_type()) == {name for name, kind in types.items() if named(kind)}
    assert all(len(some) == PER_TYPE for some in individuals_by_type().values())
    assert len(individuals()) > 50


def test_names_are_unique_and_no_words_for_things() -> None:
    things = {word for kind in load_catalog().types.values() for word in (kind.name, *kind.synonyms)}
    assert not {name.lower() for name in individuals()} & things


def test_individuals_of_a_type_look_different() -> None:
    for some in individuals_by_type().values():
        assert len({(entity.look.hue, entity.look.lightness, entity.scale) for entity in some}) == len(some)


def test_colors_are_natural_for_the_type() -> None:
    rng = rng_of("looks")
    for kind in load_catalog().types.values():
        look = draw_look(rng, kind)
        low, high = kind.hue
        assert any(low - 1e-3 <= look.hue + turn <= high + 1e-3 for turn in (0, 1, 2))
        assert kind.lightness[0] - 1e-3 <= look.lightness <= kind.lightness[1] + 1e-3
