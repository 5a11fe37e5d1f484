"""Shared by the tests of training: the small selection's pairs, the tiny model, and prepared runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from customize.clip.model_folder import LoadedModel, load_base
from customize.clip.train.distributed import Worker
from customize.clip.train.pairs import Pairs, gather_pairs
from customize.clip.train.prepare import Run, prepare_run
from index.encoder.model_spec import ModelSpec
from index.store.embedding_store import EmbeddingStore
from retrieval.selection import Selection
from tests.conftest import write_tiny_clip
from tests.customize.clip.train.runs import config


@pytest.fixture(scope="session")
def pairs(small_selection: str, known_store: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    """The 33 pairs of `small_selection`, in two shards of the corpus."""
    path = str(tmp_path_factory.mktemp("pairs") / "pairs.arrow")
    return gather_pairs(path, selection=Selection.open(small_selection), store=known_store, tars=None)


@pytest.fixture(scope="module")
def tiny_model(tiny_clip_dir: Path) -> LoadedModel:
    """The model of `known_store`; read it, don't train it."""
    return load_base(ModelSpec(model_dir=str(tiny_clip_dir)), "cpu")


@pytest.fixture(scope="session")
def tiny_resnet(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """A small ResNet CLIP with batch norms."""
    folder = tmp_path_factory.mktemp("resnet")
    return ModelSpec(model_dir=str(write_tiny_clip(folder, layers=[1, 1, 1, 1], width=16, patch_size=None)))


@pytest.fixture
def prepare(small_selection: str, tmp_path: Path) -> Callable[..., Run]:
    """Prepare a run on the small selection with some choices, in the folder `out` of `tmp_path`."""

    def prepared(out: str = "model", **choices: Any) -> Run:
        run = prepare_run(config(tmp_path / out, **{"selection": small_selection, **choices}), Worker())
        assert run is not None
        return run

    return prepared
