"""Mixtures take what weights and counts say, in an order of the seed alone, without loss and without doubles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from customize.lmm.data.mixture import Mixture, Part
from customize.lmm.data.sample import ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import Numbers
from index.errors import BadInput


class Counting:
    """A source of so many samples."""

    def __init__(self, name: str, samples: int) -> None:
        self.name, self._samples = name, samples

    def __len__(self) -> int:
        return self._samples

    def digest(self) -> str:
        return f"{self.name} {self._samples}"

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        return iter(())

    def image(self, key: str, place: str) -> ImageFile:
        raise NotImplementedError


def mixture(*parts: tuple[int, float | None, int | None], seed: int = 0, samples: int | None = None) -> Mixture:
    named = [Part(Counting(f"s{place}", size), weight, count) for place, (size, weight, count) in enumerate(parts)]
    return Mixture(named, seed=seed, samples=samples)


def test_without_weights_an_epoch_takes_every_sample_once() -> None:
    found = mixture((5, None, None), (3, None, None))
    assert sorted(found.order().tolist()) == list(range(8))
    assert found.order().tolist() != list(range(8))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    parts = ((50, 1.0, None), (30, 2.0, None))
    assert mixture(*parts).order(3).tolist() == mixture(*parts).order(3).tolist()
    assert mixture(*parts).order(3).tolist() != mixture(*parts).order(2).tolist()
    assert mixture(*parts).order(3).tolist() != mixture(*parts, seed=1).order(3).tolist()


def test_weights_are_shares_of_the_samples() -> None:
    found = mixture((90, 1.0, None), (30, 3.0, None), (10, None, None))
    assert found.counts == (30, 90, 10)
    assert found.epoch_samples == 130
    assert mixture((90, 1.0, None), (30, 3.0, None), samples=1000).counts == (250, 750)


def test_a_small_source_is_repeated_evenly_and_a_large_one_goes_on_in_the_next_epoch() -> None:
    found = mixture((10, None, 25), (10, None, 5))
    small = Counter(each for each in found.order(0).tolist() if each < 10)
    assert set(small.values()) == {2, 3}
    large = [{each for each in found.order(epoch).tolist() if each >= 10} for epoch in (0, 1)]
    assert not large[0] & large[1]
    assert large[0] | large[1] == set(range(10, 20))
    both = Counter(each for epoch in (0, 1) for each in found.order(epoch).tolist() if each < 10)
    assert set(both.values()) == {5}


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_ranks_share_an_epoch_without_loss_and_doubles(ranks: int) -> None:
    found = mixture((20, None, None), (13, None, None))
    shares = [found.share(found.order(1), rank, ranks) for rank in range(ranks)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(33))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_only_usable_samples_are_taken() -> None:
    parts = [Part(Counting("a", 5)), Part(Counting("b", 5), weight=1.0)]
    found = Mixture(parts, usable=[np.array([1, 4]), np.array([0])])
    assert sorted(found.order().tolist()) == [1, 4, 5]
    with pytest.raises(BadInput, match="b: none of its samples can be trained on"):
        Mixture(parts, usable=[np.array([1]), np.array([])])


def test_statistics_by_source() -> None:
    found = mixture((10, None, 30), (10, None, None))
    assert found.statistics() == [
        {"name": "s0", "samples": 10, "usable": 10, "taken": 30, "share": 0.75, "passes": 3.0},
        {"name": "s1", "samples": 10, "usable": 10, "taken": 10, "share": 0.25, "passes": 1.0},
    ]
    assert found.source_of(np.array([0, 9, 10, 19])).tolist() == [0, 0, 1, 1]


def test_mixtures_that_say_nothing_are_told() -> None:
    with pytest.raises(BadInput, match="needs a source"):
        Mixture([])
    with pytest.raises(BadInput, match="two sources have the name 'a'"):
        Mixture([Part(Counting("a", 1)), Part(Counting("a", 2))])
    with pytest.raises(BadInput, match="a weight or a count is above 0"):
        Part(Counting("a", 1), weight=0.0)
    with pytest.raises(BadInput, match=r"s0: count=30001 would take each of its 3 samples more than 10,000 times an"):
        mixture((3, None, 30_001))
    with pytest.raises(BadInput, match="give a weight or a count"):
        Part(Counting("a", 1), 1.0, 1)
    with pytest.raises(BadInput, match="ranks are counted from 0"):
        Mixture.share(np.arange(3), 3, 3)
