from __future__ import annotations

import pickle

from mining.sets.recent import Recent


def test_a_value_is_made_once_while_it_is_kept() -> None:
    recent, made = Recent[int, str](2), []

    def get(key: int) -> str:
        return recent.get(key, lambda: made.append(key) or str(key))  # type: ignore[func-returns-value]

    assert [get(1), get(2), get(1), get(3), get(1), get(2)] == ["1", "2", "1", "3", "1", "2"]
    assert made == [1, 2, 3, 2]  # 3 took the place of 2, which was used before 1
    assert len(recent) == 2


def test_a_pickle_keeps_the_limit_and_no_values() -> None:
    recent = Recent[int, str](3)
    recent.get(1, lambda: "1")
    again = pickle.loads(pickle.dumps(recent))
    assert (len(again), again.most) == (0, 3)
