from __future__ import annotations

from scenes.world.seeded_random import between, pick, rng_of, seed_of, shuffled


def test_the_same_parts_give_the_same_stream() -> None:
    assert rng_of("corpus", 7).random() == rng_of("corpus", 7).random()
    assert seed_of("corpus", 7) != seed_of("corpus", 8) != seed_of("corpus7")


def test_seeds_never_change() -> None:
    # A scene's content hangs on these: another value would silently be another world.
    assert seed_of("corpus", 7) == 0xB41942AF5E3E6998


def test_numbers_are_short_enough_to_be_equal_everywhere() -> None:
    rng = rng_of("numbers")
    assert all(round(number, 3) == number for number in (between(rng, 0.1, 0.9) for _ in range(50)))


def test_shuffling_keeps_the_items() -> None:
    rng = rng_of("shuffle")
    assert sorted(shuffled(rng, list("abcdef"))) == list("abcdef")
    assert pick(rng, "abc") in "abc"
