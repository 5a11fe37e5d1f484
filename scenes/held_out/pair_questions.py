"""Statements and open questions about two scenes, with their true answers.

`statements` are NLVR2's: about the left and the right image, true or false. `pair_questions` are CaD-QA's: open
questions about both images or one of them, answered in a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scenes.comparing.commonalities import LIGHT_PHRASES, doing_text
from scenes.held_out.claims import Claim, Thing, color_of, thing_of
from scenes.world import words
from scenes.world.actions import acts, is_activity
from scenes.world.catalog import load_catalog
from scenes.world.decor import shown_by_background
from scenes.world.easy import EASY_TYPES
from scenes.world.entities import PEOPLE
from scenes.world.facts import count
from scenes.world.geometry import seen
from scenes.world.scene import Scene
from scenes.world.seeded_random import pick, rng_of, shuffled

__all__ = ["PairQuestion", "Statement", "pair_questions", "statements"]

_SIDES = ("left", "right")


class Statement(NamedTuple):
    """A sentence about two images and whether it is true."""

    text: str
    truth: bool


class PairQuestion(NamedTuple):
    """An open question with its answer; kind: what is asked for, with " of one" where one image is asked about."""

    question: str
    answer: str
    kind: str


def statements(left: Scene, right: Scene) -> tuple[Statement, Statement] | None:
    """A true and a false statement of the same form; None where no form has both."""
    rng = rng_of("statements", left.id, right.id)
    found: list[Statement] = [*_of_sides(left, right), *_of_both(left, right), *_of_counts(left, right)]
    forms = shuffled(rng, sorted({_form(each.text) for each in found}))
    for form in forms:
        own = [each for each in found if _form(each.text) == form]
        true, false = [each for each in own if each.truth], [each for each in own if not each.truth]
        if true and false:
            return pick(rng, true), pick(rng, false)
    return None


def _form(text: str) -> str:
    return " ".join(text.split()[:3])


def _of_sides(left: Scene, right: Scene) -> Iterator[Statement]:
    """ "The left image shows a red car." """
    for scene, other, side in ((left, right, "left"), (right, left, "right")):
        for i in seen(scene):
            own = Claim((thing_of(scene.objects[i]),))
            if own.holds(scene):
                yield Statement(f"The {side} image shows {own.text()}.", True)
        for j in seen(other):
            claim = Claim((thing_of(other.objects[j]),))
            if claim.excluded(scene):
                yield Statement(f"The {side} image shows {claim.text()}.", False)
        yield Statement(f"The {side} image was taken {load_catalog().places[scene.place].phrase}.", True)
        if other.place != scene.place:
            yield Statement(f"The {side} image was taken {load_catalog().places[other.place].phrase}.", False)


def _of_both(left: Scene, right: Scene) -> Iterator[Statement]:
    """ "Both images show a dog." """
    for name in sorted({thing.type for thing in (*left.objects, *right.objects)}):
        claim = Claim((Thing(name),))
        if claim.holds(left) and claim.holds(right):
            yield Statement(f"Both images show {words.indefinite(name)}.", True)
        elif claim.excluded(left) or claim.excluded(right):
            yield Statement(f"Both images show {words.indefinite(name)}.", False)


def _of_counts(left: Scene, right: Scene) -> Iterator[Statement]:
    """ "There are three balls in the two images together." """
    clear = all(len(seen(scene)) == len(scene.objects) for scene in (left, right))
    for name in sorted({thing.type for thing in (*left.objects, *right.objects)}):
        if not clear or any(shown_by_background(scene.place, name) for scene in (left, right)):
            continue
        total = count(left, name) + count(right, name)
        for said in (total, total + 1, total - 1):
            if said > 0:
                yield Statement(f"There {_are(said)} {_counted(name, said)} in the two images.", said == total)


def pair_questions(first: Scene, second: Scene) -> list[PairQuestion]:
    """All questions about two scenes with a clear answer, in random order."""
    found = [*_colors(first, second), *_counts(first, second), *_places(first, second), *_actions(first, second)]
    found += _missing(first, second)
    return shuffled(rng_of("pair questions", first.id, second.id), found)


def _single(scene: Scene) -> dict[str, int]:
    """Type -> its object, for types that the scene shows one of and the background does not show."""
    objects = [scene.objects[i].type for i in seen(scene)]
    clear = [name for name in objects if objects.count(name) == 1 and not shown_by_background(scene.place, name)]
    return {scene.objects[i].type: i for i in seen(scene) if scene.objects[i].type in clear}


def _colors(first: Scene, second: Scene) -> Iterator[PairQuestion]:
    ones, others = _single(first), _single(second)
    for name in sorted({*ones, *others} - {"orange"}):
        wearing = " wearing" if load_catalog().types[name].path[0] in PEOPLE else ""
        colors = {
            number: color_of(scene.objects[own[name]])
            for number, (scene, own) in enumerate(((first, ones), (second, others)), 1)
            if name in own
        }
        verb = f"is{wearing}"
        if len(colors) == 2 and colors[1] != colors[2]:
            answer = f"The {name} {verb} {colors[1]} in Image 1 and {colors[2]} in Image 2."
            yield PairQuestion(f"What color is the {name}{wearing} in each image?", answer, "color")
        for number, color in colors.items():
            question = f"What color is the {name}{wearing} in Image {number}?"
            yield PairQuestion(question, f"The {name} {verb} {color}.", "color of one")


def _counts(first: Scene, second: Scene) -> Iterator[PairQuestion]:
    if any(len(seen(scene)) < len(scene.objects) for scene in (first, second)):
        return
    for name in sorted({thing.type for thing in (*first.objects, *second.objects)}):
        if any(shown_by_background(scene.place, name) for scene in (first, second)):
            continue
        one, other = count(first, name), count(second, name)
        if one and other and one != other:
            plural = load_catalog().types[name].plural
            answer = f"There {_are(one)} {_counted(name, one)} in Image 1 and {_counted(name, other)} in Image 2."
            yield PairQuestion(f"How many {plural} are there in each image?", answer, "count")


def _places(first: Scene, second: Scene) -> Iterator[PairQuestion]:
    places = load_catalog().places
    one, other = (places[scene.place].phrase for scene in (first, second))
    if one != other:
        answer = f"Image 1 was taken {one} and Image 2 {other}."
        yield PairQuestion("Where was each image taken?", answer, "place")
    yield PairQuestion("Where was Image 2 taken?", f"It was taken {other}.", "place of one")
    if first.light != second.light:
        answer = f"Image 1 was taken {LIGHT_PHRASES[first.light]} and Image 2 {LIGHT_PHRASES[second.light]}."
        yield PairQuestion("How does the light differ between the two images?", answer, "light")


def _actions(first: Scene, second: Scene) -> Iterator[PairQuestion]:
    ones, others = _single(first), _single(second)
    for name in sorted({*ones} & {*others}):
        i, j = ones[name], others[name]
        active = all(is_activity(thing.pose) for thing in (first.objects[i], second.objects[j]))
        one, other = doing_text(first, i), doing_text(second, j)
        if acts(load_catalog().types[name]) and active and one != other:
            answer = f"The {name} is {one} in Image 1 and {other} in Image 2."
            yield PairQuestion(f"What is the {name} doing in each image?", answer, "action")


def _missing(first: Scene, second: Scene) -> Iterator[PairQuestion]:
    for number, (scene, other) in enumerate(((first, second), (second, first)), 1):
        names = [scene.objects[i].type for i in seen(scene)]
        strange = [name for name in dict.fromkeys(names) if Claim((Thing(name),)).excluded(other)]
        if strange and all(name in EASY_TYPES for name in strange):
            listed = words.listed([_counted(name, names.count(name)) for name in strange])
            question = f"What is in Image {number} that is not in Image {3 - number}?"
            yield PairQuestion(question, f"Image {number} has {listed}.", "objects")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _counted(name: str, number: int) -> str:
    return words.indefinite(name) if number == 1 else f"{words.NUMBERS[number]} {load_catalog().types[name].plural}"
