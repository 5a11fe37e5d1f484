"""A run is prepared with its data, model and images; what cannot be used is said before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from customize.clip.train.distributed import Worker
from customize.lmm.train.images import CachedImages, TowerImages
from customize.lmm.train.prepare import Run, part_inputs, prepare_run
from index.errors import BadInput, OutputExists
from tests.customize.lmm.train.conftest import Material
from tests.customize.lmm.train.tiny_run import config


@pytest.fixture
def prepare(material: Material, tmp_path: Path) -> Callable[..., Run]:
    def prepared(*data: str, **choices: Any) -> Run:
        asked = config(
            tmp_path / f"out{len(list(tmp_path.iterdir()))}", material.model, *(data or material.sources), **choices
        )
        found = prepare_run(asked, Worker())
        assert found is not None
        return found

    return prepared


def test_steps_come_from_the_epochs_or_are_given(prepare: Callable[..., Run]) -> None:
    run = prepare(steps=None, epochs=2.0)
    assert (run.total_steps, run.sources) == (12, ("single.json", "pairs.json", "text.json"))
    assert not run.sharded
    assert run.generations is None


def test_progress_tells_of_the_encoding_of_each_source_and_of_features(material: Material, tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}

    def note(label: str, done: int, total: int) -> None:
        seen[label] = (done, total)

    asked = config(tmp_path / "out", material.model, *material.sources, cache_features=True)
    run = prepare_run(asked, Worker(), note)
    assert run is not None
    encoded = {f"{source.name}: samples encoded": (len(source), len(source)) for source in run.data.sources}
    assert len(encoded) == 3
    assert {label: counts for label, counts in seen.items() if label != "vision features"} == encoded
    done, images = seen["vision features"]
    assert done == images > 0


def test_features_are_cached_where_an_image_is_seen_again(prepare: Callable[..., Run]) -> None:
    assert isinstance(prepare(steps=6).images, TowerImages)
    run = prepare(steps=12)
    assert isinstance(run.images, CachedImages)
    with run.loader.steps(0, 12) as steps:
        parts = [part_inputs(part, run.images) for step in steps for part in step]
    assert sum(len(part.sample_ids) for part in parts) == 42
    assert {tuple(part.features.shape[1:]) for part in parts if len(part.features)} == {(4, 32)}
    for part in parts:
        assert int((part.ids == run.lmm.image_token_id).sum()) == 4 * len(part.features)


def test_only_the_parts_of_the_stage_are_trained(prepare: Callable[..., Run]) -> None:
    names = [name for name, p in prepare(stage="align", template="plain").losses.named_parameters() if p.requires_grad]
    assert names
    assert all("multi_modal_projector" in name for name in names)


def test_trained_weights_stay_in_fp32_under_bf16(prepare: Callable[..., Run]) -> None:
    dtypes = {p.requires_grad: p.dtype for _, p in prepare(precision="bf16").losses.named_parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}


def test_a_folder_with_other_files_is_refused_before_anything_is_written(material: Material, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match="is not empty"):
        prepare_run(config(tmp_path / "out", material.model, material.single), Worker())
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_an_unknown_template_is_one_line(prepare: Callable[..., Run]) -> None:
    with pytest.raises(BadInput, match="chat template 'vicuna': choose one of"):
        prepare(template="vicuna")
