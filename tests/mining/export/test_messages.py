from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from index.errors import BadInput, ImagesNotLocal, MissingDependency
from mining import ImageSets
from mining.export import messages as module
from mining.export import to_datasets, to_messages
from mining.export.skipped import SkippedSet
from mining.sets.decisions import DecisionsFile
from tests.mining.made_mixed import MIXTRAL, says, write_joined, write_mixed
from tests.mining.made_sets import write_sets
from tests.mining.tiny_llava import tiny_llava, tiny_processor
from tests.retrieval.stores import forget, jpeg, make_store, random_unit


def parts(messages: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [
        (each["role"], [part["text"] if part["type"] == "text" else "<image>" for part in each["content"]])
        for each in messages
    ]


def test_messages_have_an_image_part_for_each_image(tmp_path: Path) -> None:
    pair, story = to_messages(write_sets(tmp_path, [[0, 1], [4, 3, 2]]))
    assert parts(pair["messages"]) == [
        ("user", ["Image 1: ", "<image>", "\nImage 2: ", "<image>", "\nWhat does each image show?"]),
        ("assistant", ["Image 1: caption 0\nImage 2: caption 1"]),
    ]
    assert [image.size for image in story["images"]] == [(24, 16)] * 3
    assert story["images"][0].tobytes() == Image.open(io.BytesIO(jpeg(4))).tobytes()


def test_annotations_of_several_sources_become_messages(tmp_path: Path) -> None:
    found = list(to_messages(write_mixed(tmp_path)))
    assert [len(each["images"]) for each in found] == [2, 2, 2, 2, 2, *[2, 1, 0] * 3]
    for each in found:
        shown = [part for message in each["messages"] for part in message["content"] if part["type"] == "image"]
        assert len(shown) == len(each["images"])
    roles = {tuple(message["role"] for message in each["messages"]) for each in found}
    assert roles == {("user", "assistant"), ("system", "user", "assistant", "user", "assistant")}


def test_skipped_sets_are_given_to_the_caller_or_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = b"\xff\xd8\xffno image"
    store = make_store(tmp_path, random_unit(8), images=[broken, *(jpeg(row) for row in range(1, 8))])
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5], [6, 7]], store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [2])
    DecisionsFile(Path(sets.path) / "decisions.jsonl").add(sets[3], "reject", sets.sources)
    told: list[SkippedSet] = []
    assert len(list(to_messages(sets, on_skipped=told.append))) == 1
    assert [(each.set_id, each.position) for each in told] == [(sets[0].set_id, 0), (sets[1].set_id, 0)]
    assert told[1].reason == "forgotten"
    with caplog.at_level(logging.INFO):
        list(to_messages(sets))
    assert f"skipped set {sets[1].set_id}, image 1 ({sets[1].members[0].ref}): forgotten" in caplog.text
    assert "skipped 1 sets: rejected by a person" in caplog.text
    assert caplog.records[-1].getMessage() == "skipped sets: 1: broken image; 1: forgotten"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def test_without_the_package_the_install_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependency, match=r"to_datasets\(\) needs datasets.*pip install '.\[datasets\]'"):
        to_datasets(write_sets(tmp_path, [[0, 1]]))


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("streaming", [False, True])
def test_a_hugging_face_dataset_has_fields_messages_and_images(tmp_path: Path, streaming: bool) -> None:
    sets = write_sets(tmp_path, [[0, 1], [4, 3, 2]], shared_nouns=[["dog"], []], level=[1, 3])
    rows: list[Any] = list(to_datasets(sets, streaming=streaming))
    assert [row["set_id"] for row in rows] == [each.set_id for each in sets]
    assert rows[1]["row_ids"] == [4, 3, 2]
    assert rows[1]["refs"] == [member.ref for member in sets[1].members]
    assert (rows[0]["level"], rows[0]["shared_nouns"], rows[0]["text_sim"]) == (1, ["dog"], None)
    assert [image.size for image in rows[1]["images"]] == [(24, 16)] * 3
    assert parts(rows[0]["messages"])[1] == ("assistant", ["Image 1: caption 0\nImage 2: caption 1"])


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("streaming", [False, True])
def test_the_images_are_the_files_own_bytes(tmp_path: Path, streaming: bool) -> None:
    import datasets

    found = to_datasets(write_mixed(tmp_path), streaming=streaming, kind=["comparison", "conversation"])
    raw: list[Any] = list(found.cast_column("images", datasets.List(datasets.Image(decode=False))))
    by_id = {row["sample_id"]: row for row in raw}
    assert len(by_id) == 13
    assert [image["bytes"] for image in by_id["cad/2"]["images"]] == [jpeg(104), jpeg(105)]
    assert by_id["text/0"]["images"] == []
    assert (by_id["llava/0"]["kind"], by_id["llava/0"]["annotator"]) == ("conversation", "llava-665k")
    assert raw[1]["images"][0]["bytes"] == jpeg(2)


@pytest.mark.usefixtures("own_cache")
def test_the_cache_of_datasets_is_not_used_after_a_change(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5]])

    def ids() -> list[str]:
        return [row["set_id"] for row in to_datasets(ImageSets.open(sets.path))]

    every = [each.set_id for each in sets]
    assert ids() == every
    decisions = DecisionsFile(Path(sets.path) / "decisions.jsonl")
    decisions.add(sets[0], "reject", sets.sources)
    assert ids() == every[1:]
    decisions.add(sets[0], "keep", sets.sources)
    decisions.add(sets[1], "reject", sets.sources)
    assert ids() == [every[0], every[2]]
    forget(sets.store(), [5])
    assert ids() == every[:1]
    sets.add_annotations([says(every[0], "comparison", MIXTRAL, "Compare.", "Alike.")], "one")
    (row,) = list(to_datasets(ImageSets.open(sets.path)))
    assert row["kind"] == "comparison"


@pytest.mark.usefixtures("own_cache")
def test_nothing_to_export_is_an_error(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    for streaming in (False, True):
        with pytest.raises(BadInput, match="there are no samples to export; loosen the filters"):
            to_datasets(sets.filter(level=7), streaming=streaming)
    forget(sets.store(), [0])
    with pytest.raises(ImagesNotLocal, match="of none of its 1 samples all images could be read"):
        to_datasets(sets)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=str(tmp_path / "store")):  # and not datasets' error around ours
        to_datasets(sets)


@pytest.mark.usefixtures("own_cache")
def test_a_streaming_dataset_comes_in_shards_for_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHARD_SAMPLES", 2)
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5]])
    stream: Any = to_datasets(sets, streaming=True)
    assert stream.num_shards == 2
    assert [row["row_ids"] for row in stream.shard(2, 1)] == [[4, 5]]


@pytest.mark.usefixtures("own_cache")
def test_trl_trains_on_a_joined_folder(tmp_path: Path) -> None:
    """Mined pairs, CaD-Inst and LLaVA's records together: images in their places, and the stop is learnt."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    data: Any = to_datasets(write_joined(tmp_path), template="vicuna_v1")
    settings = SFTConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=20,
        per_device_train_batch_size=4,
        learning_rate=3e-3,
        max_length=None,  # the default would cut image tokens
        assistant_only_loss=True,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    processor = tiny_processor()
    trainer = SFTTrainer(tiny_llava(), args=settings, train_dataset=data, processing_class=processor)
    trainer.train()
    losses = [float(logged["loss"]) for logged in trainer.state.log_history if "loss" in logged]
    assert len(losses) == 20
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert len(data) == 12
    batch = trainer.data_collator([data[4], data[9], data[8]])
    decode = processor.tokenizer.decode
    place = "<image>" * 4  # patches
    asks = f"USER: Image 1: {place}\nImage 2: {place}\nWhat differs? ASSISTANT: "
    assert decode(batch["input_ids"][0]).startswith(asks)
    learnt = [decode(ids[labels != -100]) for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)]
    assert learnt == ["Differences: 0.</s>", "A < s>cat< /s>.</s>", "A < s>cat< /s>.</s>"]
