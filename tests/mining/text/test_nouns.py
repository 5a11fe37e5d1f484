"""Nouns of captions as people write them: what counts as one, in which form, and what never does."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks.caption_nouns.scoring import Score, read_labelled, score
from index.errors import BadInput, MissingDependency
from mining.text.normalize import CAPTION_CHARACTERS
from mining.text.nouns import CAPTION_NOUNS, NOUN_EXTRACTORS, implied_heads, noun_extractor
from mining.text.tagging import tag_caption


def nouns(caption: str | None) -> set[str]:
    return set(noun_extractor("lexicon")([caption])[0])


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man in a red shirt is playing guitar", {"man", "shirt", "guitar"}),
        ("a photo of a dog on top of a box in front of the house", {"dog", "box", "house"}),
        ("A group of people stand in the background of the picture", {"people"}),
        ("a couple of men with a number of different hats", {"man", "hat"}),
        ("Two women run past some children", {"woman", "child"}),
        ("scissors, glasses and mice on a shelf", {"scissors", "glasses", "mouse", "shelf"}),
        ("The leaves of the trees", {"leaf", "tree"}),
        ("a game is in progress", {"game"}),
        ("a boy wearing no shirt and blue shorts, without a big red tennis racket", {"boy", "shorts"}),
    ],
)
def test_nouns_are_what_is_seen_as_lemmas_without_stop_nouns(caption: str, expected: set[str]) -> None:
    assert nouns(caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog runs and a cat jumps", {"dog", "cat"}),
        ("two boys race down the road", {"boy", "road"}),
        ("The boat race is over", {"boat", "race"}),
        ("a boy takes a boat ride", {"boy", "boat", "ride"}),
        ("A man surfs a wave", {"man", "wave"}),
        ("a woman waves at the crowd", {"woman", "crowd"}),
        ("people watch a man who dances", {"people", "man"}),
        ("She wears watches on both arms", {"watch", "arm"}),
        ("another looks on", set()),
        ("a parked car and a running horse", {"car", "horse"}),
        ("a man is painting a fence next to a painting", {"man", "fence", "painting"}),
        ("he drinks from a can that can be opened", {"can"}),
        ("the sun goes down and the children go home", {"sun", "child"}),
    ],
)
def test_words_that_may_be_verbs_are_told_apart_by_what_stands_before_them(caption: str, expected: set[str]) -> None:
    assert nouns(caption) == expected


def test_a_compound_is_one_noun_and_counts_with_its_head_only_where_it_is_a_kind_of_it() -> None:
    assert nouns("a tennis ball by a stop sign") == {"tennis ball", "ball", "stop sign", "sign"}
    assert nouns("a hot dog and a teddy bear") == {"hot dog", "teddy bear"}
    assert nouns("a hotdog, a tee-shirt and a wet suit") == {"hot dog", "t-shirt", "wetsuit"}
    assert nouns("frying pans") == {"frying pan", "pan"}


def test_the_head_that_a_compound_adds_can_be_left_out_of_a_count() -> None:
    found = nouns("a tennis ball, a hot dog and a wet suit by a stop sign")
    implied = {head for noun in found for head in implied_heads(noun)}
    assert implied == {"ball", "sign"}
    assert found - implied == {"tennis ball", "hot dog", "wetsuit", "stop sign"}


def test_colours_are_never_nouns_but_a_made_up_thing_is() -> None:
    assert nouns("a woman in red and black holds an off-white wug") == {"woman", "wug"}


def test_names_are_no_nouns_unless_asked_for() -> None:
    captions = ["Barack Obama wears a Nike shirt", "Eiffel Tower at sunset", "Apple iPhone 12 case", "Rote Handtasche"]
    assert noun_extractor("lexicon")(captions) == [("shirt",), ("sunset", "tower"), ("case",), ()]
    assert noun_extractor("lexicon", names=True)(captions) == [
        ("barack obama", "nike", "obama", "shirt"),
        ("eiffel tower", "sunset", "tower"),
        ("apple", "case", "iphone"),
        (),
    ]
    assert implied_heads("barack obama") == {"obama"}
    assert implied_heads("eiffel tower") == {"tower"}
    assert implied_heads("hot dog") == implied_heads("wheel chair") == implied_heads("dog") == frozenset()


def test_an_elderly_couple_are_people_and_a_couple_of_dogs_is_a_number() -> None:
    assert nouns("an elderly couple on a bench") == {"couple", "bench"}
    assert nouns("a couple of dogs") == nouns("a couple dogs") == {"dog"}


def test_possessives_are_split() -> None:
    assert nouns("a man's hat on the dog's head") == {"man", "hat", "dog", "head"}


def test_alt_text_is_read_without_its_markup_addresses_and_hashes() -> None:
    text = '<b class="x">Black cat</b> &amp; dog #cute #pets https://example.org/cat.jpg IMG_1234.JPG'
    assert {"cat", "dog"} <= nouns(text)
    assert not nouns(text) & {"class", "example", "b", "amp", "jpg", "img", "https"}


@pytest.mark.parametrize(
    "caption",
    [
        None,
        "",
        "   \n ",
        "ein Mann mit einem roten Hemd und ein Hund auf der Hand",
        "un homme avec une table dans la rue",
        "一只狗在草地上奔跑",
        "Собака бежит по траве",
        "!!! ??? 12345 ---",
        "\x00\ud800",
    ],
)
def test_empty_captions_and_other_languages_have_no_nouns(caption: str | None) -> None:
    assert nouns(caption) == set()


def test_a_caption_of_ten_thousand_words_is_cut_and_its_nouns_bounded() -> None:
    words = " and ".join(f"a wug{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}" for n in range(10_000))
    found = nouns(words)
    assert 1 < len(found) <= CAPTION_NOUNS
    assert sum(len(word.text) for _, word in tag_caption(words)) <= CAPTION_CHARACTERS


def test_the_same_captions_give_the_same_nouns_in_any_order() -> None:
    captions = ["a dog on a beach", "a red wug", "two men play chess"]
    extract = noun_extractor("lexicon")
    assert extract(captions) == extract(captions[::-1])[::-1] == [("beach", "dog"), ("wug",), ("chess", "man")]


def test_an_unknown_extractor_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(BadInput, match="lexicon, spacy, nltk"):
        noun_extractor("guess")


@pytest.mark.parametrize("name", NOUN_EXTRACTORS[1:])
def test_other_taggers_find_the_same_nouns_or_name_their_install_commands(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        with pytest.raises(MissingDependency, match=f"pip install {name} && python -m {name}"):
            noun_extractor(name)
        return
    extract = noun_extractor(name)
    assert extract(["A photo of a man in a red shirt with two dogs", ""]) == [("dog", "man", "shirt"), ()]


@pytest.mark.parametrize("names", [False, True])
def test_nouns_of_labelled_web_captions_are_found_with_few_others(names: bool) -> None:
    captions = read_labelled()
    found = noun_extractor("lexicon", names)([each.caption for each in captions])
    total = Score(0, 0, 0)
    for caption, nouns_found in zip(captions, found, strict=True):
        assert caption.language == "en" or not nouns_found, caption.caption
        total += score(caption, nouns_found, names)
    assert total.precision > 0.95
    assert total.recall > 0.95
