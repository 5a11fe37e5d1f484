"""Configurations of a small embedding job, for the tests of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from index.encoder.model_spec import ModelSpec
from index.store.embed_item import EmbedConfig

Configure = Callable[..., EmbedConfig]


@pytest.fixture
def configure(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> Configure:
    """A configuration of the small corpus and the tiny CLIP, with changes."""

    def make(**changes: Any) -> EmbedConfig:
        plain = EmbedConfig(
            str(small_corpus),
            str(tmp_path / "store"),
            ModelSpec(model_dir=str(tiny_clip_dir)),
            batch_size=8,
            device="cpu",
        )
        return replace(plain, **changes)

    return make
