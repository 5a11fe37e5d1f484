"""`clipmine adopt`: a folder of clip-retrieval's becomes a store, and its vectors are the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from index.store.embedding_store import EmbeddingStore
from tests.jobs.running import Fails, Run, counts


@pytest.fixture
def foreign(store: Path, tmp_path: Path) -> Path:
    """The folders that clip-retrieval writes, without a manifest."""
    for folder in ("img_emb", "text_emb", "metadata"):
        shutil.copytree(store / folder, tmp_path / "foreign" / folder)
    return tmp_path / "foreign"


def test_it_opens_what_clip_retrieval_wrote(store: Path, foreign: Path, clipmine: Run) -> None:
    lines = clipmine("adopt", foreign)
    assert counts(lines)["rows"] == 33
    assert lines[-1] == f"next: clipmine index {foreign}"
    adopted, ours = EmbeddingStore.open(foreign), EmbeddingStore.open(store)
    assert np.array_equal(adopted.gather("image", [5]), ours.gather("image", [5]))


def test_a_named_model_is_remembered(foreign: Path, tiny_clip_dir: Path, clipmine: Run) -> None:
    report = json.loads(clipmine("adopt", foreign, "--model-dir", tiny_clip_dir, "--json")[-1])
    assert report["rows"] == 33
    assert (foreign / "model.json").exists()


def test_rows_that_are_not_unit_vectors_are_named(foreign: Path, clipmine: Run) -> None:
    path = sorted((foreign / "img_emb").iterdir())[0]
    vectors = np.load(path)
    vectors[2, 1], vectors[5], vectors[6] = np.inf, np.nan, 0
    vectors[7:9] *= 3
    np.save(path, vectors)
    lines = clipmine("adopt", foreign)
    found = counts(lines)
    assert (found["zero vectors"], found["with inf or NaN"], found["of another length"]) == (1, 2, 2)
    [named] = [line for line in lines if line.startswith("- ")]
    assert "part 0, image: 2 with inf or NaN, the first is row 2: never returned; 2 of another length than 1" in named
    assert named.endswith(" (all lengths are from 1 to 3)")  # with those of the rows that have the length 1
    assert "not all: readers normalise them" in "\n".join(lines)


def test_adopted_again_it_says_what_was_replaced(foreign: Path, clipmine: Run) -> None:
    clipmine("adopt", foreign)
    path = sorted((foreign / "text_emb").iterdir())[1]
    np.save(path, np.load(path)[::-1])
    lines = clipmine("adopt", foreign)
    assert counts(lines)["parts read now"] == 1
    assert any(line.split() == ["vectors", "replaced", "in", "part", "1:", "index", "them", "again"] for line in lines)


def test_a_folder_without_embeddings_is_one_line(tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "empty").mkdir()
    line, status = fails("adopt", tmp_path / "empty")
    assert str(tmp_path / "empty") in line
    assert status == 2
