"""Claims of captions against scenes made by hand: true, surely false, and neither."""

from __future__ import annotations

from scenes.held_out.claims import Claim, Thing, color_of, thing_of
from scenes.world.scene import Scene, SceneObject


def thing(kind: str, x: float, hue: float = 0.0, **more: object) -> SceneObject:
    """An object that is well seen; hue 0 red, 0.33 green, 0.61 blue."""
    return SceneObject(kind, x, 0.85, 1.0, hue=hue, saturation=0.9, lightness=0.5, **more)  # type: ignore[arg-type]


def scene(*objects: SceneObject, place: str = "meadow", light: str = "day") -> Scene:
    return Scene("test/0", place, objects, light)


def test_a_caption_names_colour_number_pose_relation_place_and_light() -> None:
    car, woman = Thing("car", "red"), Thing("woman", "blue")
    assert Claim((car,)).text() == "a red car"
    assert Claim((woman, Thing("dog")), relation="left_of").text() == "a woman in blue to the left of a dog"
    assert Claim((Thing("dog"), Thing("ball")), verb="chasing").text() == "a dog chasing a ball"
    assert Claim((Thing("dog"),), number=2, place="meadow").text() == "two dogs in a meadow"
    assert Claim((Thing("dog"),), number=1).text() == "a dog"
    assert Claim((Thing("dog", None, "running"),), light="night").text() == "a dog running at night"


def test_a_colour_holds_or_is_excluded() -> None:
    red, blue = scene(thing("car", 0.5)), scene(thing("car", 0.5, 0.61))
    claim = Claim((thing_of(red.objects[0]),))
    assert claim == Claim((Thing("car", "red"),))
    assert (claim.holds(red), claim.excluded(red)) == (True, False)
    assert (claim.holds(blue), claim.excluded(blue)) == (False, True)
    assert thing_of(thing("orange", 0.5, 0.07)) == Thing("orange")
    assert color_of(thing("car", 0.5, 0.33)) == "green"


def test_what_the_background_may_show_is_not_excluded() -> None:
    forest = scene(thing("dog", 0.5), place="forest")
    assert not Claim((Thing("tree"),)).holds(forest)
    assert not Claim((Thing("tree"),)).excluded(forest)
    assert Claim((Thing("tree"),)).excluded(scene(thing("dog", 0.5)))
    assert not Claim((Thing("tree"),), number=1).holds(scene(thing("tree", 0.5), place="forest"))


def test_places_lights_and_numbers() -> None:
    two = scene(thing("dog", 0.25), thing("dog", 0.75))
    assert Claim((Thing("dog"),), number=2).holds(two)
    assert Claim((Thing("dog"),), number=1).excluded(two)
    assert Claim((Thing("dog"),), place="beach").excluded(two)
    assert Claim((Thing("dog"),), light="night").excluded(two)
    # An overcast sky is day: nobody would call the caption wrong.
    assert not Claim((Thing("dog"),), light="overcast").excluded(two)
    assert not Claim((Thing("dog"),), light="overcast").holds(two)


def test_relations_are_excluded_by_their_opposite_only() -> None:
    beside = scene(thing("dog", 0.2), thing("cat", 0.8))
    left = Claim((Thing("dog"), Thing("cat")), relation="left_of")
    right = Claim((Thing("dog"), Thing("cat")), relation="right_of")
    assert (left.holds(beside), right.excluded(beside)) == (True, True)
    assert not Claim((Thing("dog"), Thing("cat")), relation="behind").excluded(beside)
    assert Claim((Thing("dog"), Thing("ball"))).excluded(beside)


def test_actions_need_actor_and_target() -> None:
    chase = scene(thing("dog", 0.2, pose="chasing", target=1), thing("ball", 0.6, 0.61))
    claim = Claim((Thing("dog"), Thing("ball")), verb="chasing")
    assert claim.holds(chase) == (not claim.excluded(chase))
    assert Claim((Thing("ball"), Thing("dog")), verb="chasing").excluded(chase)
