"""Which proposals are made: repeats, caps, quotas, levels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.select.choose import Proposals, balanced_order, choose, first_of_each, within_cap

Ids = npt.NDArray[np.int64]
sets_of_rows = st.lists(st.lists(st.integers(0, 12), min_size=2, max_size=4, unique=True), max_size=60)


def _members(sets: list[list[int]]) -> Ids:
    members = np.full((len(sets), 4), -1, np.int64)
    for place, rows in enumerate(sets):
        members[place, : len(rows)] = rows
    return members


def _one_by_one(sets: list[list[int]], cap: int, used: Counter[int]) -> list[bool]:
    taken = []
    for rows in sets:
        taken.append(all(used[row] < cap for row in rows))
        if taken[-1]:
            used.update(rows)
    return taken


@settings(deadline=None, max_examples=200)
@given(sets_of_rows, sets_of_rows, st.integers(1, 4))
def test_the_cap_is_that_of_a_loop_over_the_sets(before: list[list[int]], sets: list[list[int]], cap: int) -> None:
    used = Counter(row for rows in before for row in rows)
    expected = _one_by_one(sets, cap, used)
    assert within_cap(_members(sets), cap, taken=_members(before)).tolist() == expected


@settings(deadline=None)
@given(sets_of_rows)
def test_a_set_comes_once_in_whatever_order_its_members_stand(sets: list[list[int]]) -> None:
    identity = np.sort(_members(sets), axis=1)
    seen: set[tuple[int, ...]] = set()
    expected = [not (key in seen or seen.add(key)) for key in (tuple(sorted(rows)) for rows in sets)]  # type: ignore[func-returns-value]
    assert first_of_each(identity).tolist() == expected


def _proposals(count: int, seed: int = 0) -> Proposals:
    rng = np.random.default_rng(seed)
    members = rng.integers(0, 500, (count, 2))
    members[:, 1] = (members[:, 0] + 1 + members[:, 1] % 400) % 500
    return Proposals(members, rng.integers(0, 2, count), rng.integers(1, 4, count), 7)


def test_the_order_does_not_depend_on_arrival() -> None:
    sets = _proposals(400)
    shuffle = np.random.default_rng(1).permutation(400)
    other = Proposals(sets.members[shuffle][:, ::-1], sets.strategy[shuffle], sets.level[shuffle], 7)

    def said(one: Proposals) -> list[tuple[int, ...]]:
        order = balanced_order(one, np.arange(400), [100, 50])
        return [(*map(int, one.identity[place]), int(one.strategy[place]), int(one.level[place])) for place in order]

    assert said(sets) == said(other)


def test_another_seed_makes_other_sets() -> None:
    sets = _proposals(400)
    other = Proposals(sets.members, sets.strategy, sets.level, 8)
    alive = np.ones(400, np.bool_)
    assert set(choose(sets, alive, [20, 20], 10)[0].tolist()) != set(choose(other, alive, [20, 20], 10)[0].tolist())


def test_levels_and_quotas_are_met_in_equal_parts_and_every_beginning_is_balanced() -> None:
    sets = _proposals(2_000)
    made, repeated, blocked = choose(sets, np.ones(2_000, np.bool_), [300, 150], 10)
    assert np.bincount(sets.strategy[made]).tolist() == [300, 150]
    for strategy, quota in enumerate([300, 150]):
        levels = np.bincount(sets.level[made[sets.strategy[made] == strategy]])[1:]
        assert levels.tolist() == [quota // 3] * 3
    beginning = made[:90]
    assert np.bincount(sets.strategy[beginning]).tolist() == [60, 30]
    assert not set(made.tolist()) & (set(repeated.tolist()) | set(blocked.tolist()))


def test_what_a_poor_level_cannot_give_the_others_do() -> None:
    rows = np.arange(200).reshape(100, 2)
    sets = Proposals(rows, np.zeros(100, np.int64), np.where(np.arange(100) < 5, 1, 2), 0)
    made, _, _ = choose(sets, np.ones(100, np.bool_), [40], 10)
    assert np.bincount(sets.level[made]).tolist() == [0, 5, 35]


def test_no_image_is_in_more_sets_than_the_cap() -> None:
    sets = _proposals(2_000)
    made, _, blocked = choose(sets, np.ones(2_000, np.bool_), [1_000, 1_000], 3)
    assert np.bincount(sets.members[made].ravel()).max() == 3
    assert len(blocked)


def test_quotas_are_filled_from_many_proposals_that_share_images() -> None:
    rng = np.random.default_rng(0)
    members = np.sort(rng.integers(0, 40_000, (100_000, 2)), axis=1)
    sets = Proposals(members, rng.integers(0, 3, 100_000), rng.integers(1, 6, 100_000), 0)
    made, _, _ = choose(sets, members[:, 0] != members[:, 1], [8_000] * 3, 10)
    assert np.bincount(sets.strategy[made]).tolist() == [8_000] * 3
    assert np.bincount(members[made].ravel()).max() <= 10


def test_levels_of_sets_that_are_not_balanced_come_as_often_as_they_are_proposed() -> None:
    """900 sets of level 1 and 100 of level 2: half and half, or nine to one."""
    count = 1_000
    members = np.stack([np.arange(count), np.arange(count) + count], axis=1)
    level, one = np.repeat([1, 2], [900, 100]), np.zeros(count, np.int64)
    found = {}
    for balanced in (True, False):
        sets = Proposals(members, one, level, 7, np.full(count, balanced))
        made, _, _ = choose(sets, np.ones(count, np.bool_), [100], 10)
        found[balanced] = int((level[made] == 2).sum())
    assert found[True] == 50
    assert 2 <= found[False] <= 20
