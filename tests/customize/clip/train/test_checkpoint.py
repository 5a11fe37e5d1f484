"""A checkpoint restores weights, moments and averages to the bit; another run's and a damaged one are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from customize.clip.train.checkpoint import Checkpoint, last_checkpoint, restore_checkpoint, write_checkpoint
from index.errors import BadInput, ClipmineError

WATCH = {"running": 0.5, "alike": 0.1, "best": 0.6, "steps": 3, "warned": 0.0}
Trained = dict[str, torch.nn.Parameter]


def model(seed: int) -> tuple[Trained, torch.optim.AdamW, dict[str, torch.Tensor]]:
    """Two weights that were trained for a step, their optimizer, and their averages."""
    generator = torch.Generator().manual_seed(seed)
    trained = {name: torch.nn.Parameter(torch.randn(3, generator=generator)) for name in ("a", "b.c")}
    optimizer = torch.optim.AdamW(trained.values(), lr=0.1)
    for parameter in trained.values():
        parameter.grad = torch.randn(3, generator=generator)
    optimizer.step()
    return trained, optimizer, {name: parameter.detach() + 1 for name, parameter in trained.items()}


def write(folder: Path, step: int = 5, seed: int = 0) -> Checkpoint:
    written = write_checkpoint(str(folder), step, "this run", *model(seed), WATCH)
    assert written is not None
    return written


def test_all_comes_back_to_the_bit(tmp_path: Path) -> None:
    trained, optimizer, averages = model(0)
    again, other_optimizer, other_averages = model(1)
    write(tmp_path)
    saved = last_checkpoint(str(tmp_path))
    assert saved == Checkpoint(str(tmp_path / "00000005.safetensors"), 5)
    assert restore_checkpoint(saved, "this run", again, other_optimizer, other_averages) == WATCH
    for name, parameter in trained.items():
        assert torch.equal(again[name], parameter)
        assert torch.equal(other_averages[name], averages[name])
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(other_optimizer.state[again[name]][moment], optimizer.state[parameter][moment])
        assert other_optimizer.state[again[name]]["step"] == 5


@pytest.mark.parametrize(("fused", "device"), [(True, "meta"), (False, "cpu")])
def test_steps_are_counted_where_the_optimizer_counts_them(fused: bool, device: str, tmp_path: Path) -> None:
    saved = write(tmp_path)
    other = {name: torch.nn.Parameter(weight.detach().to("meta")) for name, weight in model(1)[0].items()}
    optimizer = torch.optim.AdamW(other.values(), lr=0.1, fused=fused)
    restore_checkpoint(saved, "this run", other, optimizer, {})
    restored = {name: optimizer.state[weight] for name, weight in other.items()}
    # torch's own rule for the place of a loaded state.
    optimizer.load_state_dict(
        {**optimizer.state_dict(), "state": {n: dict(s) for n, s in enumerate(restored.values())}}
    )
    for name, weight in other.items():
        expected = optimizer.state[weight]
        assert {key: value.device for key, value in restored[name].items()} == {
            key: value.device for key, value in expected.items()
        }
        assert restored[name]["step"].device.type == device
        assert restored[name]["step"].dtype == torch.float32


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    assert last_checkpoint(str(tmp_path / "none")) is None
    for step in (1, 2, 3):
        write(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002.safetensors", "00000003.safetensors"]


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    trained, optimizer, averages = model(0)
    trained["a"].data[1] = torch.inf
    assert write_checkpoint(str(tmp_path), 1, "this run", trained, optimizer, averages, WATCH) is None
    assert last_checkpoint(str(tmp_path)) is None


def test_a_checkpoint_of_another_run_is_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    saved = write(tmp_path)
    trained, optimizer, averages = model(1)
    before = trained["a"].detach().clone()
    with pytest.raises(BadInput, match="is the checkpoint of another run"):
        restore_checkpoint(saved, "another run", trained, optimizer, averages)
    more = {**trained, "d": torch.nn.Parameter(torch.zeros(3))}
    with pytest.raises(BadInput, match="is the checkpoint of another run"):
        restore_checkpoint(saved, "this run", more, optimizer, averages)
    assert torch.equal(trained["a"], before)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    saved = write(tmp_path)
    Path(saved.path).write_bytes(Path(saved.path).read_bytes()[:100])
    with pytest.raises(ClipmineError, match=r"00000005\.safetensors: is damaged .*; delete it to resume"):
        restore_checkpoint(saved, "this run", *model(1))


def test_a_file_of_another_name_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "zzz.safetensors").write_bytes(b"x")
    assert last_checkpoint(str(tmp_path)) is None
    (tmp_path / "00000002.safetensors").write_bytes(b"x")
    assert last_checkpoint(str(tmp_path)) == Checkpoint(str(tmp_path / "00000002.safetensors"), 2)
