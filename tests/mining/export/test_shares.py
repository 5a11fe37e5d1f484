"""The shares of an epoch: every sample once over all readers, equal where asked, an error without any."""

from __future__ import annotations

import numpy as np
import pytest

from index.errors import BadInput
from mining.export.shares import Place, Share, rank_count, share_of

BLOCKS = np.array_split(np.arange(103), range(10, 103, 10))


def shares(ranks: int, workers: int, equal: bool, seed: int | None = 0, epoch: int = 0) -> list[list[Share]]:
    return [
        [
            share_of(BLOCKS, place=Place(rank, ranks, worker, workers), equal=equal, window=8, seed=seed, epoch=epoch)
            for worker in range(workers)
        ]
        for rank in range(ranks)
    ]


def samples(share: Share) -> list[int]:
    return np.concatenate(share.from_place(0)).tolist() if len(share) else []


def test_all_readers_together_have_every_sample_once() -> None:
    every = [sample for rank in shares(4, 3, equal=False) for share in rank for sample in samples(share)]
    assert sorted(every) == list(range(103))


@pytest.mark.parametrize(("rank", "ranks"), [(2, 2), (-1, 2), (0, 0), (0, -1)])
def test_a_rank_that_is_none_of_the_ranks_is_an_error(rank: int, ranks: int) -> None:
    with pytest.raises(BadInput, match="ranks are counted from 0"):
        rank_count(9, Place(rank, ranks), equal=False)


def test_equal_shares_have_the_rest_as_spares() -> None:
    ranks = shares(4, 3, equal=True)
    assert [[share.quota for share in rank] for rank in ranks] == [[9, 8, 8]] * 4
    every = [sample for rank in ranks for share in rank for sample in samples(share)]
    assert sorted(every) == list(range(103))
    assert [len(rank[0]) for rank in ranks] == [10, 10, 10, 9]  # three are over: one for each of three ranks


@pytest.mark.parametrize("equal", [False, True])
def test_the_counts_of_ranks_are_those_of_their_shares(equal: bool) -> None:
    for rank, own in enumerate(shares(4, 3, equal)):
        given = sum(share.quota if share.quota is not None else len(share) for share in own)
        assert given == rank_count(103, Place(rank, 4), equal)


def test_the_order_is_by_seed_and_epoch_and_nearly_that_of_the_blocks() -> None:
    first = samples(shares(1, 1, equal=False)[0][0])
    assert first == samples(shares(1, 1, equal=False)[0][0])
    assert first != samples(shares(1, 1, equal=False, epoch=1)[0][0])
    assert first != samples(shares(1, 1, equal=False, seed=1)[0][0])
    assert samples(shares(1, 1, equal=False, seed=None)[0][0]) == list(range(103))
    windows = [first[place : place + 8] for place in range(0, 103, 8)]
    assert max(len({sample // 10 for sample in window}) for window in windows) <= 3  # few blocks are open at a time


def test_a_share_goes_on_from_any_place() -> None:
    share = shares(2, 2, equal=True)[1][0]
    whole = samples(share)
    for place in range(len(share) + 1):
        rest = share.from_place(place)
        assert [sample for window in rest for sample in window.tolist()] == whole[place:]


def test_more_readers_than_samples_are_an_error() -> None:
    with pytest.raises(BadInput, match="there are no samples to stream"):
        rank_count(0, Place(0, 1), equal=False)
    with pytest.raises(BadInput, match="103 samples cannot be shared by 104 ranks; loosen the filters"):
        rank_count(103, Place(0, 104), equal=False)
    with pytest.raises(BadInput, match="103 samples cannot be shared by 2 ranks of 52 workers"):
        share_of(BLOCKS, place=Place(0, 2, 0, 52), equal=True, window=8, seed=0, epoch=0)
