from __future__ import annotations

from customize.lmm.train.config import TuneConfig
from jobs.demo.loop.settings import BASE, CLIP, MIX, TUNE, LoopSettings, cpu_precision
from mining.strategies.registry import parse_mix


def test_the_settings_are_those_of_a_run_that_can_start() -> None:
    config = TuneConfig(out="out", data=("data",), model=BASE, precision=cpu_precision(), **TUNE)
    assert config.recipe.train == "full"
    assert sum(share for _, share in parse_mix(MIX)) == 1
    assert CLIP != BASE


def test_a_quick_loop_is_smaller_in_everything() -> None:
    quick, whole = LoopSettings.quick(), LoopSettings()
    names = ("scenes", "pairs", "edits", "instructions", "held_out", "compared", "shown")
    assert all(getattr(quick, name) < getattr(whole, name) for name in names)
