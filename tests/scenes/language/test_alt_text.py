from __future__ import annotations

import dataclasses
import re

from scenes.language.alt_text import RATES, alt_text
from scenes.language.phrases import text_context
from scenes.world.catalog import load_catalog
from scenes.world.facts import facts_hold
from scenes.world.sample import scenes
from scenes.world.scene import Scene

SCENES = list(scenes("pretrain", 0, 200))


def test_the_kinds_are_those_of_the_rates_which_sum_to_one() -> None:
    assert {alt_text(text_context(scene))[1] for scene in SCENES} == {kind for kind, _ in RATES}
    assert abs(sum(share for _, share in RATES) - 1) < 1e-9


def test_true_texts_state_facts_that_hold_and_others_state_none() -> None:
    for scene in SCENES:
        _, kind, facts = alt_text(text_context(scene))
        assert bool(facts) == (kind in ("clean", "partial"))
        assert facts_hold(scene, facts)


def test_a_wrong_text_names_a_type_that_is_not_in_the_scene() -> None:
    types = load_catalog().types
    wrong = [(scene, text) for scene in SCENES for text, kind, _ in [alt_text(text_context(scene))] if kind == "wrong"]
    assert len(wrong) > 5
    for scene, text in wrong:
        said = text.lower().replace("-", " ")
        named = {name for name in types if re.search(rf"\b{re.escape(name)}\b", said)}
        assert named - {thing.type for thing in scene.objects}
        assert not any(types[name].made_up for name in named)


def test_a_scene_without_seen_objects_has_an_off_topic_text() -> None:
    empty = Scene("x/0", "meadow", ())
    assert {alt_text(text_context(empty, seed))[1] for seed in range(30)} == {"off_topic"}


def test_the_same_seed_gives_the_same_text() -> None:
    scene = SCENES[0]
    assert alt_text(text_context(scene, 1)) == alt_text(text_context(scene, 1))
    texts = {alt_text(text_context(scene, seed))[0] for seed in range(10)}
    assert len(texts) > 5
    renamed = dataclasses.replace(scene, id="x/1")
    assert any(alt_text(text_context(renamed, seed)) != alt_text(text_context(scene, seed)) for seed in range(10))
