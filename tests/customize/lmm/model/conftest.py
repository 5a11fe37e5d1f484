"""Tiny checkpoints on disk, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.source import LmmSource
from tests.customize.lmm.model.checkpoints import write_clip, write_llama, write_llava, write_original


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `llava`, `clip`, `llama` and `original`; not to be written to."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_llava(folder / "llava")
    write_llama(folder / "llama")
    write_original(folder / "original", str(write_clip(folder / "clip")))
    return folder


@pytest.fixture
def lmm(checkpoints: Path) -> Lmm:
    """The tiny LLaVA, loaded anew."""
    return load_lmm(LmmSource(model=str(checkpoints / "llava")))
