from __future__ import annotations

import re
from collections import Counter

from scenes.drawing.render import render
from scenes.language.alt_text import RATES
from scenes.language.captions import CLEAN, Captions, captions
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.facts import fact_holds
from scenes.world.sample import sample, scenes
from scenes.world.scene import Scene

N = 400
_PICTURE_NOUNS = """picture image photo photograph side part center middle foreground background distance viewer surface
surfaces color left right scene daylight light dusk night darkness sky angle shape"""
TEXTS: list[tuple[Scene, Captions]] = [
    (scene, captions(scene)) for split in ("corpus", "test") for scene in scenes(split, 0, N)
]


def _clean(said: Captions) -> list[str]:
    return [*said.clean, said.dense, *said.regions]


def test_a_text_marked_clean_is_true() -> None:
    for scene, said in TEXTS:
        for facts in (*said.clean_facts, said.dense_facts, *said.region_facts, said.alt_facts):
            assert [fact for fact in facts if not fact_holds(scene, fact)] == []


def test_clean_texts_state_something() -> None:
    for _, said in TEXTS:
        assert all(said.clean_facts)
        assert said.dense_facts
        assert bool(said.alt_facts) == (said.alt_kind in ("clean", "partial"))


def test_a_scene_has_five_different_clean_captions_and_a_phrase_for_each_object() -> None:
    for scene, said in TEXTS:
        assert len({text.rstrip(".").lower() for text in said.clean}) == CLEAN == len(said.clean)
        assert len(said.regions) == len(scene.objects)
        assert all(said.regions)


def test_the_same_seed_says_the_same_and_another_seed_differs() -> None:
    scene = sample("corpus", 3)
    assert captions(scene) == captions(scene, 0)
    assert captions(scene, 1).clean != captions(scene, 0).clean


def test_the_web_like_text_has_the_stated_rates() -> None:
    counts = Counter(said.alt_kind for _, said in TEXTS)
    for kind, share in RATES:
        assert abs(counts[kind] / len(TEXTS) - share) < 0.06


def test_dense_captions_have_about_36_words() -> None:
    lengths = [len(said.dense.split()) for _, said in TEXTS]
    assert 32 <= sum(lengths) / len(lengths) <= 40
    assert max(lengths) <= 46
    assert min(lengths) >= 18


def test_dense_captions_of_full_scenes_have_eight_nouns() -> None:
    kinds = load_catalog().types.values()
    nouns = {word for kind in kinds for name in (kind.name, kind.plural, *kind.synonyms) for word in name.split()}
    nouns |= {kind.part for kind in kinds} | {word for place in load_catalog().places for word in place.split()}
    nouns |= set(_PICTURE_NOUNS.split())
    counts = [
        sum(word.strip(".,").lower() in nouns for word in said.dense.split())
        for scene, said in TEXTS
        if len({thing.type for thing in scene.objects}) >= 3
    ]
    assert sum(count >= 8 for count in counts) > 0.95 * len(counts)


def test_the_english_is_sound() -> None:
    wrong = re.compile(
        r"\b(a [aeio]\w|an [bcdfgjklmnpqrstvwxyz]|a a|the the|is are|, and|  | ,|\.\.$|None|a two|a three)\b"
        r"|\bof (there|this|an? \w+ of a)\b",
        re.IGNORECASE,
    )
    allowed = re.compile(r"\ba (one|unicorn|euro)", re.IGNORECASE)
    for _, said in TEXTS:
        for text in _clean(said):
            found = wrong.search(text)
            assert found is None or allowed.search(text), text
            assert text == text.strip()


def test_individuals_are_called_by_their_names() -> None:
    named = [(scene, said) for scene, said in TEXTS if any(thing.entity for thing in scene.objects)]
    called = sum(
        any(thing.entity and thing.entity in text for text in _clean(said) for thing in scene.objects)
        for scene, said in named
    )
    assert called > 0.3 * len(named) > 0


def test_what_is_spoken_of_is_visible_in_the_drawing() -> None:
    visible = []
    for scene, said in TEXTS[::8]:
        drawn = render(scene)
        visible += [drawn.visible[i] for i, text in enumerate(said.regions) if text]
    assert sum(share > 0.4 for share in visible) >= 0.99 * len(visible)


def test_words_are_rich() -> None:
    vocabulary = Counter(
        word for _, said in TEXTS for text in _clean(said) for word in re.findall(r"[a-z]+", text.lower())
    )
    assert len(vocabulary) > 350


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
