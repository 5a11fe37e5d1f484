"""A checkpoint brings back weights and moments, so that the next steps are those of an uninterrupted run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from customize.clip.train.checkpoint import last_checkpoint
from customize.clip.train.distributed import Worker
from customize.lmm.train.checkpoint import restore_state, whole_tensors, write_state
from index.errors import BadInput


def model() -> tuple[dict[str, torch.nn.Parameter], torch.optim.AdamW]:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    trained = dict(layer.named_parameters())
    return trained, torch.optim.AdamW(trained.values(), lr=0.1, fused=True)


def take(trained: dict[str, torch.nn.Parameter], optimizer: torch.optim.AdamW, steps: range) -> None:
    for step in steps:
        for parameter in trained.values():
            parameter.grad = torch.sin(parameter.detach() * (step + 1))
        optimizer.step()


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole, optimizer = model()
    take(whole, optimizer, range(6))
    first, stopped = model()
    take(first, stopped, range(3))
    written = write_state(str(tmp_path), 3, {"identity": "a", "skipped": {"x": 1}}, first, stopped, Worker())
    assert written is not None
    second, resumed = model()
    found = last_checkpoint(str(tmp_path))
    assert found == written
    assert restore_state(written, "a", second, resumed)["skipped"] == {"x": 1}
    take(second, resumed, range(3, 6))
    for name, parameter in whole.items():
        torch.testing.assert_close(second[name], parameter, rtol=0, atol=0)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    trained, optimizer = model()
    written = write_state(str(tmp_path), 1, {"identity": "a"}, trained, optimizer, Worker())
    assert written is not None
    with pytest.raises(BadInput, match="checkpoint of another run"):
        restore_state(written, "b", trained, optimizer)


def test_values_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    trained, optimizer = model()
    with torch.no_grad():
        trained["weight"][0, 0] = float("nan")
    assert write_state(str(tmp_path), 1, {"identity": "a"}, trained, optimizer, Worker()) is None
    assert last_checkpoint(str(tmp_path)) is None


def test_only_the_first_worker_writes(tmp_path: Path) -> None:
    trained, optimizer = model()
    assert write_state(str(tmp_path), 1, {"identity": "a"}, trained, optimizer, Worker(1, 2)) is None
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_are_not_sharded_stay_as_they_are() -> None:
    tensor = torch.ones(2)
    assert whole_tensors({"a": tensor}, Worker())["a"] is tensor
