"""Padded and packed rows hold the same samples; nothing is trained across samples or on padding."""

from __future__ import annotations

import numpy as np

from customize.lmm.data.collate import collate
from customize.lmm.data.sample import IGNORED, EncodedSample
from tests.customize.lmm.data.made_data import image


def encoded(ids: list[int], labels: list[int], *keys: str) -> EncodedSample:
    return EncodedSample(keys[0] if keys else "x", "made", np.array(ids), np.array(labels), tuple(map(image, keys)))


SAMPLES = [encoded([1, 7, 8], [-100, 7, 8], "a"), encoded([1, 9, 9, 9, 2], [1, -100, 9, 9, 2], "b", "c")]


def test_padded_rows() -> None:
    found = collate(SAMPLES, [0, 3], pad_id=5, packed=False)
    assert found.ids.tolist() == [[1, 7, 8, 5, 5], [1, 9, 9, 9, 2]]
    # The first token of a sample has no loss, whatever its label.
    assert found.labels.tolist() == [[-100, 7, 8, -100, -100], [-100, -100, 9, 9, 2]]
    assert found.positions is None
    assert found.sources.tolist() == [[0] * 5, [3] * 5]
    assert (found.tokens, found.trained, found.sample_ids) == (8, 5, ("a", "b"))
    assert [each.key for each in found.images] == ["a", "b", "c"]


def test_a_packed_row() -> None:
    found = collate(SAMPLES, [0, 3], pad_id=5, packed=True)
    assert found.ids.tolist() == [[1, 7, 8, 1, 9, 9, 9, 2]]
    assert found.labels.tolist() == [[-100, 7, 8, -100, -100, 9, 9, 2]]
    assert found.positions is not None
    assert found.positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4]]
    assert found.sources.tolist() == [[0, 0, 0, 3, 3, 3, 3, 3]]
    assert (found.tokens, found.trained) == (8, 5)
    assert IGNORED == -100
