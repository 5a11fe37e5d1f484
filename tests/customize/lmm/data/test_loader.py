"""Parts are loaded ahead: every sample of every step once over all workers, whatever the parts and the start."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from customize.lmm.data.batches import BatchPlan
from customize.lmm.data.encoded_mixture import EncodedMixture
from customize.lmm.data.loader import LoadedPart, PartLoader
from customize.lmm.data.mixture import Part
from customize.lmm.data.sample import ImageFile
from tests.customize.lmm.data.made_sources import MadeSource, made_encoder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EncodedMixture:
    parts = [Part(MadeSource("a", 30, lost=("a/1", "a/4"))), Part(MadeSource("b", 20))]
    return EncodedMixture.prepare(parts, made_encoder(), tmp_path_factory.mktemp("tokens"))


def loader(data: EncodedMixture, **choices: Any) -> PartLoader[bytes]:
    plan = BatchPlan(data.mixture.order, data.mixture.epoch_samples, data.lengths, data.images, batch_size=8, window=2)
    return PartLoader(data, plan, **{"load_image": lambda image: image.read(), "pad_id": 3, "budget": 200, **choices})


def loaded(own: PartLoader[bytes], first: int = 0, last: int = 12) -> list[list[LoadedPart[bytes]]]:
    with own.steps(first, last) as steps:
        return list(steps)


def ids(steps: list[list[LoadedPart[bytes]]]) -> list[list[tuple[str, ...]]]:
    return [[part.collated.sample_ids for part in parts] for parts in steps]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_each_step_has_its_samples_over_all_workers(data: EncodedMixture, packed: bool, workers: int) -> None:
    shares = [loaded(loader(data, packed=packed, rank=rank, workers=workers)) for rank in range(workers)]
    plan = loader(data).plan
    for step in range(12):
        found = [name for share in shares for part in share[step] for name in _named(data, part)]
        every = [(data[number].source, data[number].sample_id) for number in plan.batch(step).tolist()]
        assert sorted(found) == sorted(each for each in every if each not in (("a", "1"), ("a", "4")))


def _named(data: EncodedMixture, part: LoadedPart[bytes]) -> list[tuple[str, str]]:
    """(source, sample id) of the samples of a part; in a packed row a sample begins where the positions do."""
    own = part.collated
    firsts = own.sources[:, 0] if own.positions is None else own.sources[own.positions == 0]
    return [(data.mixture.names[place], name) for place, name in zip(firsts.tolist(), own.sample_ids, strict=True)]


def test_images_are_those_of_the_tokens(data: EncodedMixture) -> None:
    assert data.images.sum()
    for packed in (False, True):
        for parts in loaded(loader(data, packed=packed)):
            for part in parts:
                assert len(part.images) * 4 == int((part.collated.ids == made_encoder().image_token_id).sum())
                assert [each.key.encode() for each in part.collated.images] == list(part.images)


def test_a_sample_with_an_unreadable_image_is_left_out_and_counted(data: EncodedMixture) -> None:
    own = loader(data)
    loaded(own, 0, own.plan.steps_per_epoch)
    assert own.skipped.reasons == {"a": {"an image that cannot be read": 2}}
    assert any("a/1: missing" in line for line in own.skipped.named["a"])


def test_a_later_start_gives_the_same_steps(data: EncodedMixture) -> None:
    assert ids(loaded(loader(data), 7, 12)) == ids(loaded(loader(data)))[7:]


def test_no_image_is_read_where_the_caller_has_its_features(data: EncodedMixture) -> None:
    own: PartLoader[str] = PartLoader(data, loader(data).plan, lambda image: image.key, pad_id=3, budget=200)
    with own.steps(0, 12) as steps:
        keys = [key for parts in steps for part in parts for key in part.images]
    assert "a/1" in keys
    assert not own.skipped.reasons


def test_an_image_is_loaded_once_a_step_and_only_some_steps_ahead(data: EncodedMixture) -> None:
    calls: list[str] = []

    def load(image: ImageFile) -> bytes:
        calls.append(image.key)
        return b""

    own = loader(data, load_image=load, ahead=1)
    with own.steps(0, 12) as steps:
        next(steps)
        time.sleep(0.05)
        held = len(calls)
    per_step = [int((data.images[own.plan.batch(step)] > 0).sum()) for step in range(12)]
    assert held <= sum(per_step[:4])
    assert len(calls) == len(set(calls))


def test_an_error_of_loading_ends_the_steps_and_leaves_no_thread(data: EncodedMixture) -> None:
    def load(image: ImageFile) -> bytes:
        raise RuntimeError("broken decoder")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="broken decoder"):
        loaded(loader(data, load_image=load))
    assert threading.active_count() <= before
