"""An encoded mixture gives samples by the numbers of the mixture, and never takes what was skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.lmm.data.encoded_mixture import EncodedMixture
from customize.lmm.data.mixture import Part
from index.errors import BadInput
from tests.customize.lmm.data.made_sources import MadeSource, made_encoder


def prepared(folder: Path, seed: int = 0, weight: float | None = None) -> EncodedMixture:
    parts = [Part(MadeSource("a", 20), weight), Part(MadeSource("b", 30))]
    return EncodedMixture.prepare(parts, made_encoder(), folder, seed=seed)


def test_samples_are_numbered_over_all_sources(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    assert len(data) == 50
    assert (data[19 - 1].source, data[19 - 1].sample_id) == ("a", "18")
    assert (data[20].source, data[20].sample_id) == ("b", "0")
    assert [data.source_of(number) for number in (0, 19, 20, 49)] == [0, 0, 1, 1]
    assert data.lengths[20] == len(data[20])
    assert (data.images[21], data.trained[20]) == (1, (data[20].labels >= 0).sum())


def test_an_epoch_takes_each_usable_sample_once(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    order = data.mixture.order(0).tolist()
    assert sorted(order) == [number for number in range(50) if number not in (9, 19, 29, 39, 49)]
    assert data.skipped.reasons == {"a": {"broken JSON": 2}, "b": {"broken JSON": 3}}


def test_the_digest_tells_mixtures_apart(tmp_path: Path) -> None:
    digests = [
        prepared(tmp_path).digest(),
        prepared(tmp_path, seed=1).digest(),
        prepared(tmp_path, weight=2.0).digest(),
    ]
    assert len({*digests, prepared(tmp_path).digest()}) == 3


def test_a_wrong_mixture_is_an_error_before_anything_is_encoded(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two sources have the name 'a'"):
        EncodedMixture.prepare([Part(MadeSource("a", 3)), Part(MadeSource("a", 4))], made_encoder(), tmp_path)
    assert not list(tmp_path.iterdir())
