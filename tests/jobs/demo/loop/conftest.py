"""A small loop on drawn scenes, run once for all tests of this folder. Nothing is learned from so little data."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.demo.loop.run import LoopSummary, run_loop
from jobs.demo.loop.settings import LoopSettings

SETTINGS = LoopSettings(scenes=100, pairs=30, edits=4, instructions=12, held_out=4, compared=3, shown=2)


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> LoopSummary:
    return run_loop(str(tmp_path_factory.mktemp("loop") / "loop"), SETTINGS, executor="local", workers=1)


@pytest.fixture(scope="session")
def root(loop: LoopSummary) -> Path:
    return Path(loop.out)
