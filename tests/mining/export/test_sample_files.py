"""Samples with their files, for streams: all of an epoch in blocks, and a digest that tells other samples apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mining import ImageSets
from mining.export.member_images import MemberImages
from mining.export.sample_files import SetFiles
from mining.export.samples import Samples
from tests.mining.made_mixed import write_mixed
from tests.retrieval.stores import jpeg


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ImageSets:
    return write_mixed(tmp_path_factory.mktemp("mixed"))


def files(sets: ImageSets, **choice: Any) -> SetFiles:
    return SetFiles(Samples(sets, **choice), MemberImages(sets))


def test_the_blocks_hold_every_sample_once_in_order(mixed: ImageSets) -> None:
    found = files(mixed)
    assert np.concatenate(found.blocks(0)).tolist() == list(range(len(found)))
    assert len(files(mixed, per_set="one").blocks(1)) == len(mixed)


def test_a_sample_comes_with_its_sets_files(mixed: ImageSets) -> None:
    (found,) = files(mixed, kind="question").read(np.array([0]))
    assert isinstance(found, tuple)
    assert found[1] == [jpeg(0), jpeg(1)]


def test_other_samples_have_another_digest(mixed: ImageSets) -> None:
    choices: list[dict[str, Any]] = [{}, {"kind": "question"}, {"kind": "comparison"}]
    digests = [files(mixed, **choice).digest() for choice in choices] + [files(mixed[:3]).digest()]
    assert len(set(digests)) == 4
    assert files(mixed).digest() == digests[0]
