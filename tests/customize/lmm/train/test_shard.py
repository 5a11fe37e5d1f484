"""Two workers that share a model out among them take one worker's steps, with adapters and in full."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from customize.clip.train.checkpoint import last_checkpoint
from customize.clip.train.distributed import this_worker
from customize.lmm.model.forward import TokenLosses
from customize.lmm.train.checkpoint import restore_state, write_state
from customize.lmm.train.shard import decoder_layers, shard_model
from customize.lmm.train.step import PartInputs, TuneStep
from index.errors import BadInput
from tests.customize.lmm.train.test_step import packed, padded
from tests.mining.tiny_llava import tiny_llava


def model() -> TokenLosses:
    llava = tiny_llava()
    llava.model.vision_tower.requires_grad_(False)
    return TokenLosses(llava)


def train(losses: TokenLosses, parts: list[PartInputs], sharded: bool, folder: str | None = None) -> list[float]:
    """Three steps; with a folder, a checkpoint is written after the first and read again before the second."""
    trained = {name: p for name, p in losses.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    step = TuneStep(losses, 2, this_worker(), "cpu", bf16=False, sharded=sharded)
    found = []
    for number in range(3):
        optimizer.zero_grad()
        found.append(step(parts).loss)
        optimizer.step()
        if folder is not None and number == 0:
            write_state(folder, 1, {"identity": "a"}, trained, optimizer, this_worker())
            this_worker().barrier()
            written = last_checkpoint(folder)
            assert written is not None
            optimizer.state.clear()
            restore_state(written, "a", trained, optimizer)
    return found


def work(rank: int, folder: str, expected: list[float]) -> None:
    """One of two workers; the second has one part less, and no image in it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    losses = model()
    shard_model(losses, "cpu")
    parts = [padded([0]), padded([1])] if rank == 0 else [packed([2, 3])]
    assert train(losses, parts, True, folder + "/checkpoints") == pytest.approx(expected, abs=1e-5)
    dist.destroy_process_group()


def test_two_workers_that_share_a_model_take_one_workers_steps(tmp_path: Path) -> None:
    expected = train(model(), [padded([0, 1, 2, 3])], False)
    mp.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        work, (str(tmp_path), expected), nprocs=2, start_method="spawn"
    )


def test_a_language_model_without_a_list_of_layers_is_refused() -> None:
    llava = model().model
    assert len(decoder_layers(llava)) == 2
    llava.model.language_model = torch.nn.Linear(2, 2)
    with pytest.raises(BadInput, match="--shard-model: Linear has no list of layers"):
        decoder_layers(llava)
