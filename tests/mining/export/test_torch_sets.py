from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader

from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from mining import ImageSets
from mining.export import torch_dataset
from mining.export.skipped import SkippedSet
from mining.export.torch_sets import collate_sets
from tests.mining.made_mixed import MIXTRAL, says, write_mixed
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


def test_a_sample_has_the_images_of_a_set_as_one_tensor(pairs: ImageSets) -> None:
    dataset = torch_dataset(pairs, to_tensor)
    assert len(dataset) == COUNT
    sample = dataset[3]
    assert sample["images"].shape == (2, 3, 16, 24)
    assert sample["captions"] == [f"caption {row}" for row in pairs[3].rows]
    assert sample["row_ids"].tolist() == list(pairs[3].rows)
    assert sample["refs"] == [member.ref for member in pairs[3].members]
    assert (sample["set_id"], sample["level"], sample["image_sim"]) == (pairs[3].set_id, 0, 0.5)
    assert math.isnan(sample["text_sim"])
    assert [image.size for image in torch_dataset(pairs)[0]["images"]] == [(24, 16)] * 2


def test_a_sample_has_the_conversation_as_messages(tmp_path: Path) -> None:
    dataset = torch_dataset(write_mixed(tmp_path), to_tensor, kind="conversation")
    assert len(dataset) == 9
    pair, system, text = dataset[0], dataset[1], dataset[2]
    assert pair["messages"][0] == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Left "},
            {"type": "image", "index": 0},
            {"type": "text", "text": ", right "},
            {"type": "image", "index": 1},
            {"type": "text", "text": ": what differs?"},
        ],
    }
    assert [message["role"] for message in system["messages"]][:2] == ["system", "user"]
    assert pair["row_ids"].tolist() == [-1, -1]
    assert (text["images"], text["refs"]) == ([], [])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_every_pair_once(pairs: ImageSets, workers: int) -> None:
    torch.manual_seed(0)
    loader = DataLoader(torch_dataset(pairs, to_tensor), batch_size=15, shuffle=True, num_workers=workers)
    batches: list[Any] = list(loader)
    assert batches[0]["images"].shape == (15, 2, 3, 16, 24)
    first, second = batches[0]["captions"]
    assert len(first) == len(second) == len(batches[0]["messages"]) == 15
    assert batches[0]["messages"][0][1]["role"] == "assistant"
    assert sorted(name for batch in batches for name in batch["set_id"]) == sorted(each.set_id for each in pairs)


def test_sets_of_several_sizes_are_collated_by_their_members(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [4, 3, 2]], strategy=["similar", "identity"])
    (batch,) = DataLoader(torch_dataset(sets, to_tensor), batch_size=2, collate_fn=collate_sets)
    assert batch["images"].shape == (5, 3, 16, 24)
    assert batch["sizes"].tolist() == [2, 3]
    assert batch["row_ids"].tolist() == [0, 1, 4, 3, 2]
    assert batch["captions"][2] == "caption 4"
    assert batch["strategy"] == ["similar", "identity"]
    assert [len(messages) for messages in batch["messages"]] == [2, 2]


@pytest.mark.parametrize("workers", [0, 1])
def test_torchs_own_collation_of_several_sizes_says_what_to_do(tmp_path: Path, workers: int) -> None:
    sets = write_sets(tmp_path, [[0, 1], [4, 3, 2], [5, 6]])
    loader = DataLoader(torch_dataset(sets, to_tensor), batch_size=3, num_workers=workers)
    with pytest.raises(BadInput, match=r"sets of 2 and 3 images.*collate_fn=collate_sets.*sets.filter\(size=2\)"):
        list(loader)
    assert len(list(DataLoader(torch_dataset(sets.filter(size=2), to_tensor), batch_size=2))) == 1
    (batch,) = DataLoader(torch_dataset(sets, to_tensor), batch_size=3, collate_fn=collate_sets)
    assert batch["sizes"].tolist() == [2, 3, 2]


def test_sets_without_an_asked_for_annotation_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[SkippedSet] = []
    mixed = write_mixed(tmp_path)
    assert len(torch_dataset(mixed, kind="question", on_skipped=told.append)) == 1
    assert len(told) == 12
    torch_dataset(mixed, kind="question")
    assert [record.getMessage() for record in caplog.records][10:] == [
        "skipped sets: 12: has no annotation of kind question"
    ]


def test_sets_without_captions_are_given_for_their_images(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4), caption=[None] * 4)
    sample = torch_dataset(write_sets(tmp_path, [[0, 1]], store=store), to_tensor)[0]
    assert (sample["captions"], sample["messages"]) == (["", ""], [])


def test_an_image_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    broken = b"\xff\xd8\xff broken"
    store = make_store(tmp_path, random_unit(6), images=None)
    sets = write_sets(tmp_path, [[0, 1], [2, 3]], store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [3])
    dataset = torch_dataset(sets, to_tensor)
    assert dataset[0]["set_id"] == sets[0].set_id
    with pytest.raises(StoreInvalid, match=r", image 2 \(store-.*/3\): forgotten; put the image back, or use to_web"):
        dataset[1]
    # As a DataLoader passes a worker's error on. (Its iterator, kept by the error, would take seconds to end.)
    try:
        dataset[1]
    except StoreInvalid as error:
        wrapped: Any = ExceptionWrapper((type(error), error, error.__traceback__))  # type: ignore[no-untyped-call]
    with pytest.raises(StoreInvalid, match=r"image 2 \(store-.*/3\): forgotten"):
        wrapped.reraise()
    store = make_store(tmp_path / "other", random_unit(2), images=[broken, broken])
    with pytest.raises(StoreInvalid, match=r"image 1 \(store-.*/0\): broken image"):
        torch_dataset(write_sets(tmp_path / "other", [[0, 1]], store=store))[0]
    with pytest.raises(StoreInvalid, match="without an answer"):
        torch_dataset(sets, answer=lambda each: None)[0]


def test_a_store_without_images_is_an_error(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4), local=False)
    with pytest.raises(ImagesNotLocal):
        torch_dataset(write_sets(tmp_path, [[0, 1]], store=store), to_tensor)[0]


def test_the_training_script_of_the_documentation_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "image-sets.md").read_text()
    section = page.partition("\n### A first training\n")[2].partition("\n### ")[0]
    (script,) = [block for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if "DataLoader" in block]
    assert len([line for line in script.splitlines() if line.strip()]) == 10  # as the sentence before it says
    write_sets(tmp_path, many_pairs(12, 8), images=12)
    (tmp_path / "scenes").symlink_to(ROOT / "scenes")
    monkeypatch.chdir(tmp_path)
    sets = ImageSets.open("pairs")
    sets.add_annotations([says(sets[0].set_id, "comparison", MIXTRAL, "What differs?", "The bus.")], "phase-1")
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(compile(script, "README.md", "exec"), names)
    loss, batch = names["loss"], names["batch"]
    assert isinstance(loss, torch.Tensor)
    assert torch.isfinite(loss)
    assert isinstance(batch, dict)
    assert batch["images"].shape[1:3] == (2, 3)
    given, train = names["torch_dataset"](names["train"]), names["train"]  # type: ignore[operator]
    assert isinstance(train, ImageSets)
    assert {sample["set_id"] for sample in given} == {each.set_id for each in train}
    assert len(train) > 1
