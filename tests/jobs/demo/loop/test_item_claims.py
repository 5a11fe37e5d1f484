"""What items claim, read from the wordings of rules, of the scenes' truth, and of people."""

from __future__ import annotations

import pytest

from jobs.demo.loop.item_claims import claims_of, read_item


def said(text: str) -> dict[int, list[tuple[str, ...]]]:
    """image -> (noun, what is said of it, sorted) of each thing, and (axis, value) of the scene."""
    found: dict[int, list[tuple[str, ...]]] = {}
    for image, claims in read_item(text).of.items():
        things = [
            tuple(
                filter(
                    None,
                    (
                        each.noun,
                        each.number,
                        *sorted(value for (axis, _), value in each.facts.items() if axis != "count"),
                        each.verb,
                        each.side,
                    ),
                )
            )
            for each in claims.things.values()
        ]
        relations: list[tuple[str, ...]] = list(claims.relations)
        found[image] = [*things, *relations, *claims.scene.items()]
    return found


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("Image 1 shows a red bus, Image 2 a blue bus.", {1: [("bus", "red")], 2: [("bus", "blue")]}),
        ("Both images show a woman in blue.", {1: [("woman", "blue")], 2: [("woman", "blue")]}),
        ("Image 1 shows a dog.", {1: [("dog",)]}),
        ("Image 1 shows three dogs, Image 2 one dog.", {1: [("dog", "3")], 2: [("dog", "1")]}),
        ("Image 1 shows a cat sitting, Image 2 a cat walking.", {1: [("cat", "sit")], 2: [("cat", "walk")]}),
        ("Image 1 is set in a kitchen, Image 2 on a street.", {1: [("place", "kitchen")], 2: [("place", "street")]}),
        ("Both images were taken at night.", {1: [("light", "night")], 2: [("light", "night")]}),
        ("Both images show a hat on the left.", {1: [("hat", "left")], 2: [("hat", "left")]}),
        ("Both images show sheep.", {1: [("sheep",)], 2: [("sheep",)]}),
        (
            "Image 1 shows a dog to the left of a cat, Image 2 a dog behind a cat.",
            {
                1: [("dog",), ("cat",), ("dog", "left-of", "cat")],
                2: [("dog",), ("cat",), ("dog", "behind", "cat")],
            },
        ),
        ("The car is red in the first image and blue in the second.", {1: [("car", "red")], 2: [("car", "blue")]}),
        ("There are two dogs in the first image and a dog in the second.", {1: [("dog", "2")], 2: [("dog", "1")]}),
        ("The first image is set in a park, the second at a lake.", {1: [("place", "park")], 2: [("place", "lake")]}),
        ("Where the first image shows a man, the second shows a cow.", {1: [("man",)], 2: [("cow",)]}),
        ("The dog is running in both images.", {1: [("dog", "run")], 2: [("dog", "run")]}),
        ("The bed is blue and small in both images.", {1: [("bed", "blue", "small")], 2: [("bed", "blue", "small")]}),
        ("In the left picture there is nothing to say", {}),
        ("The dog is bigger in the second image.", {}),
        ("The first image shows one more book than the second.", {}),
        ("", {}),
    ],
)
def test_items_are_read(text: str, claims: dict[int, list[tuple[str, ...]]]) -> None:
    assert said(text) == claims


def test_what_only_one_image_shows_is_absent_from_the_other() -> None:
    read = read_item("Only the second image shows an apple; there is no apple in the first.")
    assert [each.noun for each in read.of[2].things.values()] == ["apple"]
    assert list(read.absent) == [1]


def test_words_that_are_not_understood_are_kept() -> None:
    claims = claims_of("quickly")
    assert claims.empty
    assert claims_of("a red bus under an overcast sky").scene == {"light": "overcast"}
    assert claims_of("indoors").scene == {"indoors": "indoors"}
