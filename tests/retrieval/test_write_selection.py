"""A finished selection is written again without the rows that its store forgot since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from index.store.embedding_store import EmbeddingStore
from index.store.output_register import holding_outputs, registered_outputs
from retrieval import Selection, retrieve, write_selection
from tests.retrieval.stores import forget, make_store, random_unit
from tests.retrieval.words import WordEncoder


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return make_store(tmp_path, random_unit(40), random_unit(40, seed=1))


def select(store: EmbeddingStore, out: Path) -> Selection:
    encoder: Any = WordEncoder({"dog": random_unit(1, seed=5)[0], "cat": random_unit(1, seed=6)[0]}, 8)
    return retrieve(store, ["dog", "cat"], out=out, k=8, templates="name", encoder=encoder)


def stored(folder: Path) -> list[Any]:
    """All row ids with their captions in the folder's part files, whatever the manifest says."""
    files = [*folder.glob("rows/*.parquet"), *folder.glob("reserve/*.parquet")]
    return [pair for file in files for pair in pq.read_table(file).select(["row_id", "caption"]).to_pylist()]


def test_a_rerun_erases_rows_forgotten_since_and_counts_them(store: EmbeddingStore, tmp_path: Path) -> None:
    first = select(store, tmp_path / "s")
    row, other = first.table(["row_id"])["row_id"].to_pylist()[:2]
    spare = first.table(["row_id"], section="reserve")["row_id"][0].as_py()
    kept = [each for each in first if each["row_id"] not in (row, other, spare)]
    rows = first.rows
    for gone in ([row, spare], [other]):
        forget(store, gone)
        again = select(store, tmp_path / "s")
        assert not {each["row_id"] for each in stored(tmp_path / "s")} & set(gone)
        assert again.forgotten_rows == 0
        assert again.hits == again.rows + sum(again.losses.values())
        assert again.identity == first.identity
    assert [each for each in again if each["row_id"] not in (row, other, spare)] == kept
    assert again.rows == rows - again.losses["forgotten"] == sum(again.counts.values())
    assert sum(again.manifest["losses"][1]["by_concept"].values()) == again.losses["forgotten"] >= 2
    assert again.table(["row_id"], include_forgotten=True).num_rows == rows
    assert holding_outputs(store) == ()


def test_a_rerun_that_was_killed_is_finished_by_the_next(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = select(store, tmp_path / "s").table(["row_id"])["row_id"][0].as_py()
    forget(store, [row])
    shutil.copytree(tmp_path / "s", tmp_path / "whole")
    select(store, tmp_path / "whole")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("write_atomic", "remove"):
        with monkeypatch.context() as patch:
            patch.setattr(write_selection, step, killed)
            with pytest.raises(KeyboardInterrupt):
                select(store, tmp_path / "s")
        assert row not in Selection.open(tmp_path / "s").table(["row_id"])["row_id"].to_pylist()
    select(store, tmp_path / "s")
    files = sorted(path.relative_to(tmp_path / "s") for path in (tmp_path / "s").rglob("*.parquet"))
    assert files == sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.parquet"))
    for name in files:
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not any(each["row_id"] == row for each in stored(tmp_path / "s"))


def test_nothing_is_written_where_nothing_was_forgotten(store: EmbeddingStore, tmp_path: Path) -> None:
    select(store, tmp_path / "s")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")}
    select(store, tmp_path / "s")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")} == before
    assert "as_written" not in json.loads((tmp_path / "s/manifest.json").read_text())


def test_a_finished_selection_stands_in_its_stores_register(store: EmbeddingStore, tmp_path: Path) -> None:
    selection = select(store, tmp_path / "s")
    assert [(output.kind, output.path) for output in registered_outputs(store)] == [("selection", selection.path)]
    forget(store, [selection.table(["row_id"])["row_id"][0].as_py()])
    assert [output.rows for output in holding_outputs(store)] == [1]
