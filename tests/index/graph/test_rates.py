"""Rates of this machine are measured at two sizes and follow a power law at others."""

from __future__ import annotations

import numpy as np
import pytest

from index.graph.codecs import CODEC_NAMES
from index.graph.rates import Rates, made_up, measure_rates


def test_other_sizes_follow_by_a_power_law() -> None:
    rates = Rates("fp16", 64, 32, (1_000, 10_000), (1.0, 20.0), (1_000.0, 500.0))
    assert rates.seconds_to_build(1_000) == pytest.approx(1)
    assert rates.seconds_to_build(100_000) == pytest.approx(400)
    assert rates.queries_in_a_second(100_000) == pytest.approx(250)


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_each_codec_is_measured(codec: str) -> None:
    rates = measure_rates(codec, 16, 8, (300, 600))  # type: ignore[arg-type]  # one of the codecs
    assert min(*rates.build_seconds, *rates.queries_per_second) > 0


def test_made_up_vectors_have_length_one() -> None:
    vectors, queries = made_up(150, 16)
    assert (len(vectors), queries.shape[1]) == (150, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
