"""Streams: every sample once over ranks and workers, equal where asked, and exactly on after a stop within an epoch."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from index.errors import BadInput, ImagesNotLocal
from mining import ImageSets
from mining.export import streamed_sets, to_webdataset, torch_stream, torch_stream_tars
from mining.export.skipped import SkippedSet
from mining.export.streamed_sets import StreamedSets
from tests.mining.made_mixed import write_joined
from tests.mining.made_sets import many_pairs, write_sets
from tests.retrieval.stores import forget, make_store, random_unit

COUNT = 45


def to_tensor(image: Any) -> torch.Tensor:
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(16, 24, 3).permute(2, 0, 1) / 255


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ImageSets:
    return write_sets(tmp_path_factory.mktemp("pairs"), many_pairs(30, COUNT), images=30)


@pytest.fixture(scope="module", params=["sources", "tars"])
def make(request: pytest.FixtureRequest, pairs: ImageSets, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """make(**options) -> a stream over the sources of the images, or over tars of 7 sets."""
    if request.param == "sources":
        return lambda **options: torch_stream(pairs, to_tensor, **options)
    tars = tmp_path_factory.mktemp("tars")
    to_webdataset(pairs, tars, sets_per_shard=7)
    return lambda **options: torch_stream_tars(tars, to_tensor, **options)


def ids(loader: Any) -> list[str]:
    return [name for batch in loader for name in batch["sample_id"]]


def order(stream: StreamedSets) -> list[str]:
    return [sample["sample_id"] for sample in stream]


def expected(pairs: ImageSets) -> list[str]:
    return sorted(each.set_id for each in pairs)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_gives_every_pair_once_over_its_workers(make: Any, pairs: ImageSets, workers: int) -> None:
    stream = make()
    assert len(stream) == COUNT
    loader = DataLoader(stream, batch_size=4, num_workers=workers)
    assert len(loader) == 12
    assert sorted(ids(loader)) == expected(pairs)
    assert stream.counts() == {"given": COUNT, "skipped": 0, "repeated": 0}


def test_ranks_share_the_pairs_without_overlap(make: Any, pairs: ImageSets) -> None:
    streams = [make(rank=rank, world_size=4, equal=False) for rank in range(4)]
    shares = [order(stream) for stream in streams]
    assert sorted(name for share in shares for name in share) == expected(pairs)
    assert [len(share) for share in shares] == [len(stream) for stream in streams] == [12, 11, 11, 11]


def test_several_ranks_get_equally_many_and_the_few_that_are_over_change_with_the_epoch(make: Any) -> None:
    left_out = set()
    for epoch in range(6):
        given = []
        for rank in range(4):
            stream = make(rank=rank, world_size=4)
            stream.set_epoch(epoch)
            given.append(order(stream))
            assert len(given[-1]) == len(stream) == 11
        assert len({name for share in given for name in share}) == 44
        left_out.add(frozenset(name for share in given for name in share))
    assert len(left_out) > 1


def test_ranks_come_from_the_environment(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = order(make(rank=1, world_size=4))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert order(make()) == expected


def test_the_order_is_by_seed_and_epoch(make: Any, pairs: ImageSets) -> None:
    stream = make(seed=1)
    first = order(stream)
    assert first == order(stream) == order(make(seed=1))
    stream.set_epoch(1)
    assert order(stream) != first
    assert sorted(order(stream)) == sorted(first)
    assert order(make(seed=2)) != first
    assert order(make(seed=None)) == [each.set_id for each in pairs]


def test_workers_that_live_on_hear_of_the_next_epoch(make: Any) -> None:
    stream = make()
    loader = DataLoader(stream, batch_size=4, num_workers=1, persistent_workers=True)
    first = ids(loader)
    stream.set_epoch(1)
    second = ids(loader)
    assert first != second
    assert sorted(first) == sorted(second)


def test_images_that_cannot_be_read_leave_the_ranks_equal(tmp_path: Path) -> None:
    """Eleven of 45 pairs can't be read; every rank gives 11 samples, others of its own again where it has no more."""
    store = make_store(tmp_path, random_unit(30))
    sets = write_sets(tmp_path, many_pairs(30, COUNT), store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [0, 1, 2])
    lost = {each.set_id for each in sets if {0, 1, 2} & set(each.rows)}
    told: list[SkippedSet] = []
    streams = [torch_stream(sets, to_tensor, rank=rank, world_size=4, on_skipped=told.append) for rank in range(4)]
    given = [ids(DataLoader(stream, batch_size=4, num_workers=2 * (rank % 2))) for rank, stream in enumerate(streams)]
    assert [len(share) for share in given] == [11] * 4
    assert not {name for share in given for name in share} & lost
    counts = [stream.counts() for stream in streams]
    assert [each["given"] for each in counts] == [11] * 4
    assert 5 <= sum(each["skipped"] for each in counts) <= len(lost)
    for share, each in zip(given, counts, strict=True):
        assert len(set(share)) == 11 - each["repeated"]
    assert {each.set_id for each in told} <= lost
    assert {each.reason for each in told} == {"forgotten"}


def test_one_process_skips_what_it_cannot_read(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [3])
    told: list[SkippedSet] = []
    assert order(torch_stream(sets, to_tensor, on_skipped=told.append)) == [sets[0].set_id]
    assert [str(each) for each in told] == [f"set {sets[1].set_id}, image 2 ({sets[1].members[1].ref}): forgotten"]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_log_names_ten_skipped_sets_of_a_stream_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    store = make_store(tmp_path, random_unit(30))
    sets = write_sets(tmp_path, many_pairs(30, COUNT), store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, range(20))
    stream = torch_stream(sets, to_tensor, equal=False)
    log = logging.getLogger("clipmine.mining")
    handler = logging.StreamHandler()  # workers log to the same standard error
    log.addHandler(handler)
    try:
        for epoch in range(2):
            stream.set_epoch(epoch)
            list(DataLoader(stream, batch_size=None, num_workers=workers))
            assert stream.counts()["skipped"] > 20
    finally:
        log.removeHandler(handler)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("skipped set ")]
    assert 10 <= len(said) <= 10 + max(0, workers - 1)  # two workers may write the tenth
    assert said[-1].endswith("further ones are only counted: stream.counts()")


def test_sets_without_an_asked_for_annotation_are_told_when_a_stream_is_made(tmp_path: Path) -> None:
    told: list[SkippedSet] = []
    joined = write_joined(tmp_path)
    stream = torch_stream(joined, to_tensor, kind="comparison", on_skipped=told.append)
    to_webdataset(joined, tmp_path / "tars")
    assert len(stream) + len(told) == len(joined)
    again: list[SkippedSet] = []
    torch_stream_tars(tmp_path / "tars", to_tensor, kind="comparison", on_skipped=again.append)
    assert [each.set_id for each in again] == [each.set_id for each in told]


def test_equal_shares_of_which_nothing_can_be_read_are_an_error(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [0, 2])
    with pytest.raises(ImagesNotLocal, match="of none of the 2 samples of this worker all images can be read"):
        order(torch_stream(sets, to_tensor, equal=True, on_skipped=lambda each: None))


def stopped(make: Any, rank: int, workers: int, batches: int) -> tuple[list[str], Any, list[str]]:
    """(samples of the first batches, the state after them as JSON, those of the rest of the same epoch)."""
    stream = make(rank=rank, world_size=4)
    stream.set_epoch(3)
    coming = iter(DataLoader(stream, batch_size=2, num_workers=workers, prefetch_factor=2 if workers else None))
    first: list[str] = []
    for _ in range(batches):
        batch = next(coming)
        stream.advance(batch)
        first += batch["sample_id"]
    state = json.dumps(stream.state_dict())
    return first, state, [name for batch in coming for name in batch["sample_id"]]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batches", [1, 2, 3, 5])
def test_a_stop_within_an_epoch_goes_on_exactly_where_it_was(make: Any, workers: int, batches: int) -> None:
    """Over 4 ranks: the rest comes in the same order, though workers had read ahead, and the next epoch is whole."""
    for rank in range(4 if batches == 3 else 1):
        first, state, rest = stopped(make, rank, workers, batches)
        assert len(first) == 2 * batches
        again = make(rank=rank, world_size=4)
        again.load_state_dict(json.loads(state))
        again.set_epoch(3)  # as the caller's loop over epochs does
        assert json.dumps(again.state_dict()) == state
        loader = DataLoader(again, batch_size=2, num_workers=workers)
        assert ids(loader) == rest
        again.set_epoch(4)
        whole = make(rank=rank, world_size=4)
        whole.set_epoch(4)
        assert ids(loader) == ids(DataLoader(whole, batch_size=2, num_workers=workers))


def test_a_state_after_a_second_stop_holds_too(make: Any) -> None:
    first, state, rest = stopped(make, 0, 2, 2)
    again = make(rank=0, world_size=4)
    again.load_state_dict(json.loads(state))
    coming = iter(DataLoader(again, batch_size=2, num_workers=2))
    batch = next(coming)
    again.advance(batch)
    assert batch["sample_id"] == rest[:2]
    third = make(rank=0, world_size=4)
    third.load_state_dict(again.state_dict())
    assert ids(DataLoader(third, batch_size=2, num_workers=2)) == rest[2:]
    del first


def test_a_stop_goes_on_exactly_where_images_cannot_be_read(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(30))
    sets = write_sets(tmp_path, many_pairs(30, COUNT), store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [0, 1, 2, 3])

    def make(**options: Any) -> StreamedSets:
        return torch_stream(sets, to_tensor, on_skipped=lambda each: None, **options)

    for workers in (0, 2):
        for batches in (1, 3, 5):
            first, state, rest = stopped(make, 0, workers, batches)
            again = make(rank=0, world_size=4)
            again.load_state_dict(json.loads(state))
            assert ids(DataLoader(again, batch_size=2, num_workers=workers)) == rest
            assert len(first) + len(rest) == 11


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata calls it
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdatas_stateful_loader_keeps_the_states_itself(make: Any, workers: int) -> None:
    loader_class = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader() -> Any:
        return loader_class(make(rank=1, world_size=4), batch_size=2, num_workers=workers)

    whole = ids(loader())
    running = loader()
    coming = iter(running)
    first = [name for _ in range(3) for name in next(coming)["sample_id"]]
    again = loader()
    again.load_state_dict(running.state_dict())
    assert first + ids(again) == whole
    assert sorted(ids(again)) == sorted(whole)


def test_a_state_without_advance_or_of_another_stream_is_refused(make: Any) -> None:
    stream = make()
    loader = DataLoader(stream, batch_size=4, num_workers=2)
    batch, *_ = loader  # to the end, which ends the workers
    with pytest.raises(BadInput, match=r"workers read ahead: call stream.advance\(batch\) after each batch"):
        stream.state_dict()
    stream.advance(batch)
    state = stream.state_dict()
    with pytest.raises(BadInput, match="with seed 0, this one has 1"):
        make(seed=1).load_state_dict(state)
    with pytest.raises(BadInput, match=r"with ranks \[0, 1\], this one has \[0, 2\]"):
        make(rank=0, world_size=2).load_state_dict(state)
    again = make()
    again.load_state_dict(state)
    with pytest.raises(BadInput, match="is of a loader with 2 workers, this one has 1"):
        next(iter(again))
    stream.set_epoch(1)
    with pytest.raises(BadInput, match=r"a batch of epoch 0 came after set_epoch\(1\)"):
        stream.advance(batch)


def test_more_ranks_or_workers_than_samples_are_an_error(
    make: Any, pairs: ImageSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="45 samples cannot be shared by 46 ranks"):
        make(rank=0, world_size=46)
    with pytest.raises(BadInput, match="there are no samples to stream"):
        torch_stream(pairs.filter(level=7), to_tensor)
    stream = make(rank=0, world_size=40)
    monkeypatch.setattr(streamed_sets, "get_worker_info", lambda: SimpleNamespace(id=1, num_workers=2))
    with pytest.raises(BadInput, match="45 samples cannot be shared by 40 ranks of 2 workers"):
        next(iter(stream))


def test_bad_input_is_named_before_any_worker_starts(tmp_path: Path, make: Any) -> None:
    with pytest.raises(BadInput, match="give both, the rank from 0"):
        make(rank=2, world_size=2)
    store = make_store(tmp_path, random_unit(4), local=False)
    with pytest.raises(ImagesNotLocal):
        torch_stream(write_sets(tmp_path, [[0, 1]], store=store), to_tensor)


def test_a_joined_folder_over_4_ranks_of_2_workers_is_stopped_and_goes_on(tmp_path: Path) -> None:
    joined = write_joined(tmp_path, each=12)

    def make(**options: Any) -> StreamedSets:
        return torch_stream(joined, **options)

    def loader(stream: StreamedSets) -> Any:
        return DataLoader(stream, batch_size=None, num_workers=2)

    given = []
    for rank in range(4):
        whole = [each["sample_id"] for each in loader(make(rank=rank, world_size=4))]
        stream = make(rank=rank, world_size=4)
        coming = iter(loader(stream))
        first = []
        for _ in range(4):
            sample = next(coming)
            stream.advance(sample)
            first.append(sample["sample_id"])
        again = make(rank=rank, world_size=4)
        again.load_state_dict(stream.state_dict())
        rest = [each["sample_id"] for each in loader(again)]
        assert first + rest == whole
        given += whole
    assert len(given) == len(set(given)) == 3 * 12


def test_a_state_of_other_sets_is_refused(make: Any, tmp_path: Path) -> None:
    """As many pairs, other images: the state would leave out pairs that were never given."""
    others = write_sets(tmp_path, many_pairs(40, COUNT), images=40)
    stream = make()
    next(iter(stream))
    with pytest.raises(BadInput, match="as many samples of other sets"):
        torch_stream(others, to_tensor).load_state_dict(stream.state_dict())
    half = torch_stream(others[:20], to_tensor)
    next(iter(half))
    with pytest.raises(BadInput, match="as many samples of other sets"):
        torch_stream(others[20:40], to_tensor).load_state_dict(half.state_dict())


def test_a_refused_state_leaves_the_stream_as_it_was(make: Any) -> None:
    stream = make()
    running = iter(stream)
    next(running)
    state = stream.state_dict()
    for bad in ({}, None, {**state, "next": [[0, 99, 99]]}):
        with pytest.raises(BadInput):
            stream.load_state_dict(bad)
    assert stream.state_dict() == state


@pytest.mark.parametrize(("rank", "ranks"), [("2", "2"), ("-1", "2"), ("0", "0"), ("x", "2"), ("1", None)])
def test_a_rank_of_the_environment_that_is_none_of_the_ranks_is_an_error(
    make: Any, monkeypatch: pytest.MonkeyPatch, rank: str, ranks: str | None
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("WORLD_SIZE", ranks)
    with pytest.raises(BadInput, match="WORLD_SIZE"):
        make()


@pytest.mark.parametrize("epoch", [-1, True, 0.5, "1", 1 << 63])
def test_an_epoch_that_is_no_number_from_0_is_refused_at_once(make: Any, epoch: Any) -> None:
    with pytest.raises(BadInput, match="a whole number from 0"):
        make().set_epoch(epoch)


@pytest.mark.parametrize("batch", [5, None, {}, {"position": 5}, {"position": torch.zeros(4)}])
def test_advance_says_what_it_takes(make: Any, batch: Any) -> None:
    with pytest.raises(BadInput, match="give it a batch as the stream's loader gives it"):
        make().advance(batch)


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_iteration_from_before_set_epoch_does_not_change_the_state(make: Any, epoch: int) -> None:
    stream = make()
    old = iter(stream)
    next(old)
    stream.set_epoch(epoch)
    next(old)
    assert (stream.state_dict()["next"], stream.state_dict()["last"]) == ([], -1)
    assert stream.counts()["given"] == 0
    new = iter(stream)
    next(new)
    next(old)
    assert stream.state_dict()["next"] == [[0, 1, 1]]
