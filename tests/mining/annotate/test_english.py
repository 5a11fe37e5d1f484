from __future__ import annotations

import pytest

from mining.annotate.english import counted, gerund, listed, noun_phrase, plural, varied


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        (noun_phrase("bus"), "a bus"),
        (noun_phrase("apple"), "an apple"),
        (noun_phrase("unicycle"), "a unicycle"),
        (noun_phrase("bus", "1", ["old", "red"]), "an old red bus"),
        (noun_phrase("dog", "2", ["black and white"]), "two black and white dogs"),
        (noun_phrase("person", "many"), "several people"),
        (noun_phrase("grass"), "grass"),
        (noun_phrase("sunglasses"), "sunglasses"),
        (noun_phrase("dress"), "a dress"),
        (noun_phrase("dog", "1", (), "running"), "a dog running"),
    ],
)
def test_noun_phrases(phrase: str, text: str) -> None:
    assert phrase == text


def test_forms_of_words() -> None:
    assert [plural(noun) for noun in ("child", "soccer ball", "person", "jeans", "water")] == [
        "children", "soccer balls", "people", "jeans", "water",
    ]  # fmt: skip
    assert [gerund(verb) for verb in ("run", "lie", "park")] == ["running", "lying", "parked"]
    assert [counted(count) for count in ("2", "many", "31")] == ["two", "several", "31"]


def test_images_with_one_phrase_are_named_together() -> None:
    assert varied(["a cat", "a dog"]) == "Image 1 shows a cat, Image 2 a dog."
    assert varied(["a cat", None, "a cat"]) == "Images 1 and 3 show a cat."
    assert varied(["in a park", "on a beach"], "is set", "are set") == "Image 1 is set in a park, Image 2 on a beach."
    assert listed([0, 1, 2]) == "Images 1, 2 and 3"
