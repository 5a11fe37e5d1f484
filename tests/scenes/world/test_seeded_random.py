from __future__ import annotations

import pytest

from scenes.world.seeded_random import UniformStream, between, pick, rng_of, seed_of, shuffled


def test_the_same_parts_give_the_same_stream() -> None:
    assert rng_of("corpus", 7).random() == rng_of("corpus", 7).random()
    assert len({seed_of("corpus", 7), seed_of("corpus", 8), seed_of("corpus7")}) == 3


def test_seeds_never_change() -> None:
    # Another value would silently give other scenes.
    assert seed_of("corpus", 7) == 0xB41942AF5E3E6998


def test_a_uniform_stream_is_splitmix64() -> None:
    # The first outputs of the reference implementation for the state that seed 0 gives, 0x1234567.
    state, mask, expected = 0x1234567, (1 << 64) - 1, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        expected.append(((z ^ (z >> 31)) >> 11) / (1 << 53))
    stream = UniformStream(0)
    assert [stream() for _ in range(3)] == expected
    numbers = [UniformStream(seed)(2.0, 3.0) for seed in range(200)]
    assert 2.0 <= min(numbers) < max(numbers) < 3.0
    assert sum(numbers) / 200 == pytest.approx(2.5, abs=0.1)


def test_numbers_have_three_decimals() -> None:
    rng = rng_of("numbers")
    assert all(round(number, 3) == number for number in (between(rng, 0.1, 0.9) for _ in range(50)))


def test_shuffling_keeps_the_items_and_picking_reaches_all() -> None:
    rng = rng_of("shuffle")
    assert sorted(shuffled(rng, list("abcdef"))) == list("abcdef")
    assert {pick(rng, "abc") for _ in range(50)} == {"a", "b", "c"}
