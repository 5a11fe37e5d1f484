"""The store's register of outputs: those that exist and hold forgotten rows are named, each with its rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.output_register import HoldingOutput, holding_outputs, register_output, registered_outputs
from tests.retrieval.stores import make_store, random_unit


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return make_store(tmp_path, random_unit(20))


def write(path: Path, **columns: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table, path)


def test_outputs_with_forgotten_rows_are_named_with_their_number(store: EmbeddingStore, tmp_path: Path) -> None:
    write(tmp_path / "a/rows/0.parquet", row_id=[1, 2, 2])
    write(tmp_path / "a/reserve/0.parquet", row_id=[3, 2])
    write(tmp_path / "b/urls.csv", row_id=[3, 9], caption=["two\nlines", "one"])
    write(tmp_path / "c/rows/0.parquet", row_id=[9])
    write(tmp_path / "d/work/pairs.arrow", row_id=[3, 4, None])
    register_output(store, "model", str(tmp_path / "d"), ("work/pairs.arrow",))
    for name, files in (("a", ("rows/*.parquet", "reserve/*.parquet")), ("b", ("urls.csv",)), ("c", ("rows/*",))):
        register_output(store, "selection", str(tmp_path / name), files)
    assert holding_outputs(store) == ()
    forget_rows(store, row_ids=[2, 3])
    found = {Path(output.path).name: output.rows for output in holding_outputs(store)}
    assert found == {"a": 2, "b": 1, "d": 1}


def test_rows_of_another_source_and_rows_that_were_left_out_do_not_count(store: EmbeddingStore, tmp_path: Path) -> None:
    write(tmp_path / "sets/members.parquet", row_id=[1, 2, None], source=["ours", "other", "ours"])
    write(tmp_path / "tars/00000.parquet", row_id=[1, 2, 4], error_message=["forgotten", None, "missing"])
    register_output(store, "image sets", str(tmp_path / "sets"), ("*.parquet",), only={"source": "ours"})
    register_output(store, "export", str(tmp_path / "tars"), ("*",), without={"error_message": "forgotten"})
    forget_rows(store, row_ids=[1, 2, 4])
    assert holding_outputs(store) == (
        HoldingOutput("image sets", str(tmp_path / "sets"), 1),
        HoldingOutput("export", str(tmp_path / "tars"), 2),
    )


def test_deleted_outputs_and_damaged_entries_are_passed_over(store: EmbeddingStore, tmp_path: Path) -> None:
    write(tmp_path / "a/0.parquet", row_id=[1])
    write(tmp_path / "b/0.parquet", row_id=[1])
    for name in ("a", "b"):
        register_output(store, "selection", str(tmp_path / name), ("*.parquet",))
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "b/1.parquet").write_bytes(b"PAR1")
    (store.path / "outputs" / "0.json").write_text("{")
    (store.path / "outputs" / "1.json").write_text('{"kind": 3}')
    forget_rows(store, row_ids=[1])
    assert [output.path for output in holding_outputs(store)] == [str(tmp_path / "b")]


def test_an_output_is_entered_once(store: EmbeddingStore, tmp_path: Path) -> None:
    register_output(store, "export", str(tmp_path / "a"), ("*.parquet",))
    (entry,) = (store.path / "outputs").iterdir()
    before = entry.read_bytes()
    register_output(store, "export", str(tmp_path / "a"), ("*.parquet",))
    assert entry.read_bytes() == before
    assert [(output.kind, output.path) for output in registered_outputs(store)] == [("export", str(tmp_path / "a"))]


def test_a_store_that_cannot_be_written_to_has_no_register(store: EmbeddingStore, tmp_path: Path) -> None:
    (store.path / "outputs").write_text("a file in the way")
    register_output(store, "export", str(tmp_path / "a"), ("*.parquet",))
    assert registered_outputs(store) == []


def test_outputs_on_an_object_store_are_read_too(store: EmbeddingStore, tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", row_id=[1, 7])
    register_output(store, "selection", f"file://{tmp_path}", ("*.parquet",))
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/out/rows/0.parquet", (tmp_path / "rows.parquet").read_bytes())
    register_output(store, "selection", "memory://out", ("rows/*.parquet",))
    forget_rows(store, row_ids=[7])
    memory_first = sorted(output.path for output in holding_outputs(store))
    assert memory_first == [str(tmp_path), "memory://out"]
    memory.rm("/out", recursive=True)
