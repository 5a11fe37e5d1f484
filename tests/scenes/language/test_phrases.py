from __future__ import annotations

import dataclasses

import pytest

from scenes.language.phrases import (
    category_words,
    doing,
    features,
    light,
    mention,
    noun,
    place,
    relation,
    text_context,
    view,
    with_part,
)
from scenes.world.facts import facts_hold
from scenes.world.sample import scenes
from scenes.world.scene import Scene, SceneObject

DOG = SceneObject("dog", x=0.2, y=0.8, size=1.0, depth=0.3, pose="running", target=1, hue=0.08, lightness=0.3)
APPLE = SceneObject("apple", x=0.6, y=0.8, size=1.6, depth=0.31, hue=0.0, saturation=0.8, gloss=0.9, pose="whole")
TWIN = dataclasses.replace(APPLE, x=0.9, depth=0.33, gloss=0.0)
SCENE = Scene("x/0", "meadow", (DOG, APPLE, TWIN))


def test_objects_of_one_type_are_one_unit_and_hidden_ones_are_in_none() -> None:
    ctx = text_context(SCENE)
    assert ctx.units == ((0,), (1, 2))
    assert ctx.unit_of(2) == (1, 2)
    hidden = dataclasses.replace(APPLE, x=0.2, y=0.85, size=5.0, depth=0.1)
    assert 0 not in text_context(dataclasses.replace(SCENE, objects=(DOG, hidden))).seen


def test_features_are_those_that_all_objects_of_a_unit_share() -> None:
    ctx = text_context(SCENE)
    assert {slot: word for slot, (word, _, _) in features(ctx, (1,)).items()} == {
        "size": "big", "texture": "glossy", "color": "red",
    }  # fmt: skip
    assert set(features(ctx, (1, 2))) == {"size", "color"}


def test_nouns_have_as_many_adjectives_as_asked_and_state_them() -> None:
    assert noun(text_context(SCENE), (1, 2), 0, plain=True) == (
        "apples",
        [("object", 1, "apple"), ("object", 2, "apple")],
    )
    for seed in range(20):
        text, facts = noun(text_context(SCENE, seed), (1,), 2, plain=True)
        assert text.endswith(" apple")
        assert len(text.split()) == 3
        assert len(facts) == 3
        assert facts_hold(SCENE, facts)


def test_a_category_replaces_the_noun_with_its_probability() -> None:
    assert category_words("apple") == ("fruit",)
    assert noun(text_context(SCENE), (1,), 0, general=1.0) == ("fruit", [("object", 1, "fruit")])


def test_mentions_count_groups_and_use_names() -> None:
    assert mention(text_context(SCENE), (1, 2), 0)[0] == "two apples"
    rex = dataclasses.replace(SCENE, objects=(dataclasses.replace(DOG, entity="Rex"), APPLE))
    assert mention(text_context(rex), (0,), 0, name=1.0) == (
        "Rex the dog",
        [("object", 0, "dog"), ("entity", 0, "Rex")],
    )


def test_actions_name_their_target_unless_it_is_known() -> None:
    alone = dataclasses.replace(SCENE, objects=(DOG, APPLE))
    expected = ("chasing an apple", [("object", 1, "apple"), ("action", 0, "chasing", 1)])
    assert doing(text_context(alone), (0,), 0) == expected
    assert doing(text_context(alone), (0,), known=frozenset({1}))[0] == "chasing the apple"  # type: ignore[index]
    assert doing(text_context(alone), (1,)) is None


def test_place_light_and_view_are_said_where_there_is_something_to_say() -> None:
    kitchen = text_context(dataclasses.replace(SCENE, place="kitchen", view="high"))
    assert place(kitchen) == ("in a kitchen", [("place", "kitchen")])
    assert light(kitchen) is None
    assert view(kitchen)[1] == [("view", "high")]  # type: ignore[index]
    assert view(text_context(SCENE)) is None
    assert light(text_context(SCENE))[1] == [("light", "day")]  # type: ignore[index]


@pytest.mark.parametrize(
    ("part", "word", "text"),
    [("ears", "big", "big ears"), ("tail", "big", "a big tail"), ("fur", "rough", "rough fur")],
)
def test_parts_have_an_article_only_when_singular_and_countable(part: str, word: str, text: str) -> None:
    assert with_part(part, word) == text


def test_relations_that_are_said_hold() -> None:
    told = 0
    for scene in scenes("corpus", 0, 60):
        ctx = text_context(scene)
        for i in ctx.seen:
            for j in ctx.seen:
                between = relation(ctx, i, j) if i != j else None
                if between is not None:
                    told += 1
                    assert facts_hold(scene, between[1])
    assert told > 50
