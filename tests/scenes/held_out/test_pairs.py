"""Pairs of held-out scenes: captions are true of one image and surely false of the other."""

from __future__ import annotations

import itertools

from scenes.comparing.compare import compare
from scenes.held_out.pairs import (
    EDITS,
    Claimed,
    alike,
    captioned,
    changed,
    edited,
    exchanged_colors,
    one_change,
    triplets,
)
from scenes.world.easy import EASY_TYPES, easy_scene


def told_apart(pair: Claimed) -> bool:
    both = [(pair.caption, pair.first, pair.second)]
    if pair.other is not None:
        both.append((pair.other, pair.second, pair.first))
    return all(claim.holds(own) and claim.excluded(other) for claim, own, other in both)


def test_pairs_that_are_alike_share_a_type_or_the_place_and_no_scene() -> None:
    pairs = list(itertools.islice(alike(), 30))
    ids = [scene.id for pair in pairs for scene in pair]
    assert len(set(ids)) == len(ids)
    for one, other in pairs:
        types = [{thing.type for thing in scene.objects} for scene in (one, other)]
        assert one.place == other.place or types[0] & types[1]
    assert list(itertools.islice(alike(), 30)) == pairs


def test_captions_suit_one_image_only() -> None:
    for pair in itertools.islice(captioned(), 20):
        assert told_apart(pair)


def test_triplets_differ_in_subject_verb_or_object() -> None:
    found = triplets(5, scenes=700)
    assert [name for name, pairs in found.items() if pairs] == ["subject", "verb", "object"]
    pairs = [pair for own in found.values() for pair in own]
    assert all(told_apart(pair) for pair in pairs)
    assert all(pair.category == name for name, own in found.items() for pair in own)
    assert len({pair.first.id for pair in pairs}) == len(pairs)
    assert max(map(len, found.values())) <= 5


def test_an_edit_changes_what_it_is_named_after() -> None:
    pairs = list(itertools.islice(one_change(), 20))
    assert all(told_apart(pair) for pair in pairs)
    assert {"attributes", "counts", "locations"} <= {pair.category for pair in pairs}
    for pair in pairs:
        assert pair.other is not None
        assert pair.caption.text() != pair.other.text()
        assert {difference.axis for difference in compare(pair.first, pair.second).differences} == {pair.category}


def test_exchanged_colours_leave_the_rest_as_it_was() -> None:
    for pair in itertools.islice(exchanged_colors(), 10):
        assert told_apart(pair)
        assert pair.other is not None
        words = [sorted(claim.text().replace("an ", "a ").split()) for claim in (pair.caption, pair.other)]
        assert words[0] == words[1]
        assert [thing.type for thing in pair.first.objects] == [thing.type for thing in pair.second.objects]


def test_edits_bring_easy_types_only() -> None:
    for one, other in itertools.islice(edited(), 15):
        assert one != other
        assert all(thing.type in EASY_TYPES for scene in (one, other) for thing in scene.objects)
    scene = easy_scene("test", 3)
    assert {axis for axis in EDITS if changed(scene, axis)} >= {"hue", "place"}
