"""Groups of parameters train at their own rates, and the log has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from customize.clip.train.distributed import Worker
from customize.clip.train.log import read_log
from customize.clip.train.loop import Loop
from customize.clip.train.prepare import Run, prepare_run
from customize.clip.train.rates import rate_group
from index.encoder.model_spec import ModelSpec
from tests.customize.clip.train.runs import config, run

Prepare = Callable[..., Run]


def moved(loop: Loop) -> dict[str, float]:
    """The largest change of a weight in each group, after training."""
    before = {name: weight.detach().clone() for name, weight in loop.trained.items()}
    loop.run()
    found: dict[str, float] = {}
    for name, weight in loop.trained.items():
        change = float((weight.detach() - before[name]).abs().max())
        found[rate_group(name)] = max(found.get(rate_group(name), 0.0), change)
    return found


@pytest.mark.parametrize("strategy", ["locked-text-gated-image", "gated-both"])
def test_each_group_moves_at_its_own_rate(strategy: str, prepare: Prepare) -> None:
    rates = {"lr": 1e-3, "lr_alpha": 5e-2, "lr_base": 1e-5}
    found = moved(Loop(prepare(strategy=strategy, steps=1, warmup=0, weight_decay=0.0, **rates)))
    # A first step of Adam moves each weight with a gradient by its rate; closed gates pass none to their blocks.
    assert found["alpha"] == pytest.approx(5e-2, rel=0.1)
    assert found["base"] == pytest.approx(1e-5, rel=0.1)
    assert found["gated"] == 0


def test_a_group_with_rate_0_stays(prepare: Prepare) -> None:
    found = moved(Loop(prepare(strategy="gated-both", lr_base=0.0)))
    assert found["base"] == 0
    assert found["gated"] > 0


def test_gated_both_trains_its_embeddings_at_the_direct_rate(prepare: Prepare) -> None:
    loop = Loop(prepare(strategy="gated-both", lr=4e-3, weight_decay=0.0))
    assert moved(loop)["base"] < 6 * 5e-5 * 1.2  # six steps


def test_the_log_has_each_groups_rate(prepare: Prepare, tmp_path: Path) -> None:
    loop = Loop(prepare(lr=1e-3, lr_alpha=1e-2, warmup=2))
    loop.run()
    first, second, *_ = read_log(str(tmp_path / "model" / "log.jsonl"))
    assert first.rates == {"alpha": 5e-3, "gated": 5e-4, "base": 5e-4}
    assert second.rates == {"alpha": 1e-2, "gated": 1e-3, "base": 1e-3}
    assert (first.lr, second.lr) == (5e-4, 1e-3)


def test_gates_of_a_customized_model_are_part_of_their_tower(
    small_export: str, small_selection: str, tmp_path: Path
) -> None:
    run(tmp_path / "gated", small_selection, gated_blocks=1)
    model = ModelSpec(model_dir=str(tmp_path / "gated"))
    prepared = prepare_run(config(tmp_path / "full", tars=small_export, model=model, strategy="full"), Worker())
    assert prepared is not None
    loop = Loop(prepared)
    assert loop.optimizer is not None
    assert {group["name"] for group in loop.optimizer.param_groups} == {"base"}
    assert sum(len(group["params"]) for group in loop.optimizer.param_groups) == len(loop.trained)
    assert torch.isfinite(torch.tensor(list(moved(loop).values()))).all()
