from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from index.errors import BadInput
from mining import PairSet
from tests.mining.made_sets import write_foreign_sets, write_sets


def test_pairs_alone_open_as_a_pair_set(tmp_path: Path) -> None:
    pairs = PairSet.open(write_sets(tmp_path, [[0, 1], [2, 3]], level=[1, 2]).path)
    assert len(pairs) == 2
    assert isinstance(pairs.filter(level=2)[:1], PairSet)
    assert isinstance(pickle.loads(pickle.dumps(pairs)), PairSet)


@pytest.mark.parametrize("names", [["a.jpg"], [], ["a.jpg", "b.jpg", "c.jpg"]])
def test_a_set_of_another_size_is_named_with_the_remedy(tmp_path: Path, names: list[str]) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], names])
    with pytest.raises(BadInput, match=r"1 of its sets are no pairs.*filter\(size=2\)"):
        PairSet.open(sets.path)
    assert len(sets.filter(size=2)) == 1
