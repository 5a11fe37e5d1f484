"""Shared by the tests of tuning: a tiny LLaVA in a folder, and files of conversations about drawn images."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.customize.lmm.model.checkpoints import write_llava
from tests.customize.lmm.train.tiny_run import write_records


@dataclass(frozen=True)
class Material:
    """A model's folder and three files: conversations about one image, about two, and without any."""

    model: Path
    single: str
    pairs: str
    text: str

    @property
    def sources(self) -> tuple[str, str, str]:
        return self.single, self.pairs, self.text


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    return Material(
        write_llava(folder / "model"),
        write_records(folder, "single", 10),
        write_records(folder, "pairs", 6, images=2, seed=1),
        write_records(folder, "text", 5, images=0, seed=2),
    )


@pytest.fixture
def sigint_obeyed() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests run in the background and a shell has them ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)
