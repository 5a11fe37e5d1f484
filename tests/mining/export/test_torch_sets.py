from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from mining import ImageSets
from mining.export import torch_dataset, torch_stream
from mining.export.skipped import SkippedSet
from mining.export.torch_sets import StreamedSets, collate_sets
from tests.mining.made_sets import many_pairs, write_sets
from tests.retrieval.stores import forget, make_store, random_unit

ROOT = Path(__file__).parents[3]
COUNT = 45


def to_tensor(image: Any) -> torch.Tensor:
    """What open_clip's preprocess gives, in small: float [3, h, w]."""
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(16, 24, 3).permute(2, 0, 1) / 255


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ImageSets:
    return write_sets(tmp_path_factory.mktemp("pairs"), many_pairs(30, COUNT), images=30)


def ids(loader: Any) -> list[str]:
    return [name for batch in loader for name in batch["set_id"]]


def test_a_sample_has_the_images_of_a_set_as_one_tensor(pairs: ImageSets) -> None:
    dataset = torch_dataset(pairs, to_tensor)
    assert len(dataset) == COUNT
    sample = dataset[3]
    assert sample["images"].shape == (2, 3, 16, 24)
    assert sample["captions"] == [f"caption {row}" for row in pairs[3].rows]
    assert sample["row_ids"].tolist() == list(pairs[3].rows)
    assert (sample["set_id"], sample["level"], sample["image_sim"]) == (pairs[3].set_id, 0, 0.5)
    assert math.isnan(sample["text_sim"])
    assert [image.size for image in torch_dataset(pairs)[0]["images"]] == [(24, 16)] * 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_every_pair_once(pairs: ImageSets, workers: int) -> None:
    torch.manual_seed(0)
    loader = DataLoader(torch_dataset(pairs, to_tensor), batch_size=16, shuffle=True, num_workers=workers)
    batch = next(iter(loader))
    assert batch["images"].shape == (16, 2, 3, 16, 24)
    first, second = batch["captions"]
    assert len(first) == len(second) == 16
    assert sorted(ids(loader)) == sorted(each.set_id for each in pairs)


def test_sets_of_several_sizes_are_collated_by_their_members(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [4, 3, 2]], strategy=["similar", "identity"])
    (batch,) = DataLoader(torch_dataset(sets, to_tensor), batch_size=2, collate_fn=collate_sets)
    assert batch["images"].shape == (5, 3, 16, 24)
    assert batch["sizes"].tolist() == [2, 3]
    assert batch["row_ids"].tolist() == [0, 1, 4, 3, 2]
    assert batch["captions"][2] == "caption 4"
    assert batch["strategy"] == ["similar", "identity"]


def test_an_image_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], store=store)
    forget(store, [3])
    dataset = torch_dataset(sets, to_tensor)
    assert dataset[0]["set_id"] == "0_1"
    with pytest.raises(StoreInvalid, match=r"set 2_3: row 3 is forgotten; put the corpus back, or use to_webdataset"):
        dataset[1]
    with pytest.raises(StoreInvalid, match="set 2_3: row 3 is forgotten"):
        list(DataLoader(dataset, batch_size=2, num_workers=1))


def test_a_stream_leaves_such_a_set_out_and_tells(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], store=store)
    forget(store, [3])
    told: list[SkippedSet] = []
    assert [sample["set_id"] for sample in torch_stream(sets, to_tensor, on_skipped=told.append)] == ["0_1"]
    assert [str(each) for each in told] == ["set 2_3: row 3 is forgotten"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_gives_every_pair_once_over_its_workers(pairs: ImageSets, workers: int) -> None:
    loader = DataLoader(torch_stream(pairs, to_tensor), batch_size=4, num_workers=workers)
    assert sorted(ids(loader)) == sorted(each.set_id for each in pairs)


def streams(pairs: ImageSets, ranks: int, **options: Any) -> list[list[str]]:
    found = []
    for rank in range(ranks):
        stream = StreamedSets(pairs, to_tensor, rank=rank, world_size=ranks, **options)
        found.append([sample["set_id"] for sample in stream])
    return found


def test_ranks_share_the_pairs_without_overlap(pairs: ImageSets) -> None:
    shares = streams(pairs, 4)
    assert sorted(name for share in shares for name in share) == sorted(each.set_id for each in pairs)
    assert sorted(len(share) for share in shares) == [11, 11, 11, 12]


def test_equal_shares_leave_out_the_few_that_are_over(pairs: ImageSets) -> None:
    shares = streams(pairs, 4, equal=True)
    assert [len(share) for share in shares] == [11] * 4
    assert len({name for share in shares for name in share}) == 44


def test_ranks_come_from_the_environment(pairs: ImageSets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert [sample["set_id"] for sample in torch_stream(pairs, to_tensor)] == streams(pairs, 4)[1]


def test_the_order_is_by_seed_and_epoch(pairs: ImageSets) -> None:
    def order(stream: StreamedSets) -> list[str]:
        return [sample["set_id"] for sample in stream]

    stream = torch_stream(pairs, to_tensor, seed=1)
    first = order(stream)
    assert first == order(stream) == order(torch_stream(pairs, to_tensor, seed=1))
    stream.set_epoch(1)
    assert order(stream) != first
    assert sorted(order(stream)) == sorted(first)
    assert order(torch_stream(pairs, to_tensor, seed=2)) != first
    assert order(torch_stream(pairs, to_tensor, seed=None)) == [each.set_id for each in pairs]


def test_workers_that_live_on_hear_of_the_next_epoch(pairs: ImageSets) -> None:
    stream = torch_stream(pairs, to_tensor)
    loader = DataLoader(stream, batch_size=4, num_workers=1, persistent_workers=True)
    first = ids(loader)
    stream.set_epoch(1)
    second = ids(loader)
    assert first != second
    assert sorted(first) == sorted(second)


def test_an_empty_view_streams_nothing(pairs: ImageSets) -> None:
    assert list(torch_stream(pairs.filter(level=7), to_tensor)) == []


def test_bad_input_is_named_before_any_worker_starts(tmp_path: Path, pairs: ImageSets) -> None:
    with pytest.raises(BadInput, match="give both, the rank from 0"):
        StreamedSets(pairs, rank=2, world_size=2)
    store = make_store(tmp_path, random_unit(4), local=False)
    with pytest.raises(ImagesNotLocal):
        torch_dataset(write_sets(tmp_path, [[0, 1]], store=store), to_tensor)[0]


def test_the_training_script_of_the_readme_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text().partition("\n## Mine pairs\n")[2].partition("\n## ")[0]
    (script,) = [block for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if "DataLoader" in block]
    assert len([line for line in script.splitlines() if line.strip()]) == 10  # as the sentence before it says
    write_sets(tmp_path, many_pairs(12, 8), images=12)
    (tmp_path / "scenes").symlink_to(ROOT / "scenes")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(compile(script, "README.md", "exec"), names)
    loss, batch = names["loss"], names["batch"]
    assert isinstance(loss, torch.Tensor)
    assert torch.isfinite(loss)
    assert isinstance(batch, dict)
    assert batch["images"].shape[1:3] == (2, 3)
