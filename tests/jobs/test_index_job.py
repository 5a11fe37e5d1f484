"""The index job indexes what was embedded, and does no work twice."""

from __future__ import annotations

from os import fspath
from pathlib import Path

import pytest

from index.errors import BadInput
from index.graph.build import IndexConfig
from jobs.index_job import run_index
from tests.retrieval.stores import make_store, random_unit

ROWS = 20


def config_of(folder: Path) -> IndexConfig:
    store = make_store(folder, random_unit(ROWS), parts=3)
    return IndexConfig(fspath(store.path), M=4, ef_construction=8, queries=5)


def test_a_second_run_writes_no_file_again(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    first = run_index(config, "image")
    written = {path: path.stat().st_mtime_ns for path in Path(config.store).rglob("*") if path.is_file()}
    assert Path(config.store, "lookup", "lookup_0000.arrow") in written
    assert run_index(config, "image") == first
    assert written == {path: path.stat().st_mtime_ns for path in Path(config.store).rglob("*") if path.is_file()}


def test_both_means_the_modalities_that_were_embedded(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert [summary.modality for summary in run_index(config, "both")] == ["image"]
    with pytest.raises(BadInput, match="has no text embeddings"):
        run_index(config, "text")


def test_an_unknown_modality_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="choose one of image, text, both"):
        run_index(config_of(tmp_path), "audio")
