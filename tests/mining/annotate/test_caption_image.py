from __future__ import annotations

from mining.annotate.caption_image import Doing, Value, names_something, read_image


def test_captions_of_one_image_are_united() -> None:
    image = read_image(["A man in a red hat rides a horse", "A person on a brown horse at sunset"])

    assert list(image.things) == ["man", "horse"]
    assert image.things["man"].worn == {"hat": {("color", ""): {Value("red", "red")}}}
    assert image.things["man"].actions == {"ride": Doing("riding a horse", "riding", True)}
    assert image.things["horse"].attributes == {("color", ""): {Value("brown", "brown")}}
    assert image.scene["light"] == {Value("dusk", "dusk")}


def test_a_count_is_what_the_captions_agree_on() -> None:
    assert read_image(["Two dogs run", "Dogs on grass"]).things["dog"].count == "2"
    assert read_image(["Two dogs run", "Three dogs on grass"]).things["dog"].count == ""
    assert read_image(["A dog runs", "Dogs on grass"]).things["dog"].count == ""
    assert read_image(["A black dog and a white dog"]).things["dog"].count == "2"
    assert read_image(["A plane in a field. The airplane is white."]).things["airplane"].count == "1"


def test_two_of_one_noun_are_not_told_apart() -> None:
    image = read_image(["A man in a red shirt talks to a man in a blue shirt"])

    assert not image.things["man"].alone


def test_names_parts_of_bodies_and_what_is_not_there_are_no_things() -> None:
    image = read_image(["Jack Sparrow without a hat holds a sword in his hand beside a sign of a woman in orange"])

    assert "sword" in image.things
    assert not {"jack sparrow", "hat", "hand", "woman", "orange"} & set(image.things)


def test_positions_are_those_between_two_things() -> None:
    image = read_image(["A dog to the left of a cat. The cat is on the right side of the picture."])

    assert image.positions == {("dog", "cat"): {Value("left-of", "left of")}}
    assert image.zones == {"cat": {"right"}}


def test_what_is_named_as_thing_place_or_clothes() -> None:
    image = read_image(["A man in a straw hat stands in the snow"])

    assert image.names("snow")
    assert image.names("hat")
    assert image.names("man")
    assert not image.names("dog")


def test_words_of_several_captions_for_one_person_are_one_thing() -> None:
    image = read_image(["A boy on a skateboard", "A boy jumps", "A dancer on steps", "A man is skateboarding"])

    assert list(image.things) == ["boy", "skateboard"]
    assert image.doubtful == {"dancer", "man"}
    assert list(read_image(["A boy and a man", "A boy"]).things) == ["boy", "man"]


def test_captions_that_name_nothing_are_told_from_those_that_are_not_read() -> None:
    named = ["meadow", "Flora pink pig", "kitchen at night", "tennis match", "Un chien court dans la rue", "Photo 7"]
    assert all(map(names_something, named))
    assert not any(
        map(names_something, ["Share this on social media", "Follow us on instagram", "Click here for more info"])
    )
