"""Stores, selections and image sets as Arrow tables and as frames of Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from index.store.adopt import adopt_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.metadata import METADATA_SCHEMA
from jobs.frames_out import to_arrow, to_spark
from retrieval.retrieve import retrieve
from retrieval.selection import Selection
from tests.mining.made_sets import write_foreign_sets


def rows(frame: Any, *columns: str) -> list[tuple[Any, ...]]:
    """A Spark frame's rows by their first column."""
    return sorted(tuple(row) for row in frame.select(*columns).collect())


def adopted(store: Path) -> EmbeddingStore:
    """The store as another program would have written it."""
    for name in ("manifest.json", "embed.json"):
        (store / name).unlink()
    adopt_store(store)
    return EmbeddingStore.open(store)


def test_a_store_is_a_spark_frame_without_its_forgotten_rows(store: Path, spark_session: Any) -> None:
    opened = EmbeddingStore.open(store)
    forget_rows(opened, row_ids=[2, 20, 32])
    kept = np.setdiff1d(np.arange(33), [2, 20, 32])
    frame = to_spark(store, spark_session)
    assert frame.columns == ["row_id", *METADATA_SCHEMA.names]
    expected = opened.metadata(kept)
    assert rows(frame, "row_id", "key", "caption", "width") == list(
        zip(kept.tolist(), *(expected[name].to_pylist() for name in ("key", "caption", "width")), strict=True)
    )
    assert rows(frame.filter("row_id = 21"), "captions", "extra") == [
        (expected["captions"][19].as_py(), expected["extra"][19].as_py())
    ]
    assert "FileScan" in frame._jdf.queryExecution().toString()  # Spark reads the files itself


def test_an_adopted_store_is_a_spark_frame_in_its_readers_types(store: Path, spark_session: Any) -> None:
    opened = adopted(store)
    forget_rows(opened, row_ids=[0])
    frame = to_spark(opened, spark_session, columns=["row_id", "width", "key"])
    assert frame.columns == ["row_id", "width", "key"]
    assert rows(frame, "row_id", "width", "key") == [
        tuple(row.values()) for row in to_arrow(opened, columns=["width", "key"]).to_pylist()
    ]
    assert frame.count() == 32


@pytest.mark.parametrize("modalities", ["image", ("image", "text")])
def test_vectors_come_with_the_metadata(modalities: Any, small_store: EmbeddingStore, spark_session: Any) -> None:
    frame = to_spark(small_store, spark_session, columns=["key"], vectors=modalities)
    names = [f"{each}_vector" for each in ([modalities] if isinstance(modalities, str) else modalities)]
    assert frame.columns == ["row_id", "key", *names]
    found = rows(frame, *frame.columns)
    table = to_arrow(small_store, columns=["key"], vectors=modalities)
    assert table.schema.names == frame.columns
    assert table["key"].to_pylist() == [row[1] for row in found]
    for place, name in enumerate(names):
        expected = small_store.gather(name.removesuffix("_vector"), np.arange(33))  # type: ignore[arg-type]
        np.testing.assert_allclose([row[2 + place] for row in found], expected)
        np.testing.assert_allclose(table[name].to_pylist(), expected)
    assert to_arrow(small_store, columns=[], vectors="text").schema.names == ["row_id", "text_vector"]
    assert to_arrow(small_store, columns="key").schema.names == ["row_id", "key"]
    twice = to_arrow(small_store, columns=["key", "key"], vectors=["text", "text"])
    assert twice.schema.names == ["row_id", "key", "text_vector"]


def test_a_selection_is_a_frame_of_the_rows_that_are_not_forgotten(
    store: Path, tiny_clip_dir: Path, tmp_path: Path, spark_session: Any
) -> None:
    choices: dict[str, Any] = {"k": 4, "model": ModelSpec(model_dir=str(tiny_clip_dir))}
    selection = retrieve(store, ["red circle", "blue square"], out=str(tmp_path / "s"), **choices)
    gone = selection.table(["row_id"])["row_id"][0].as_py()
    forget_rows(EmbeddingStore.open(store), row_ids=[gone])
    expected = Selection.open(tmp_path / "s").table()
    assert to_arrow(tmp_path / "s").equals(expected)
    frame = to_spark(selection, spark_session, columns=["row_id", "concept", "score"])
    assert gone not in {row.row_id for row in frame.collect()}
    wanted = expected.select(["row_id", "concept", "score"]).to_pylist()
    assert rows(frame, "row_id", "concept", "score") == sorted(tuple(row.values()) for row in wanted)


def test_image_sets_are_a_frame_with_a_row_a_set(tmp_path: Path, spark_session: Any) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg", "e.jpg"], ["f.jpg", "g.jpg"]])
    frame = to_spark(sets[1:], spark_session)
    found = {row.set_id: [member.caption for member in row.members] for row in frame.collect()}
    assert found == {each.set_id: list(each.captions) for each in sets[1:]}
    assert to_arrow(sets.path, columns=["size"])["size"].to_pylist() == [2, 3, 2]
    assert to_spark(sets.select([]), spark_session).count() == 0


def test_what_is_no_frame_is_one_line(small_store: EmbeddingStore, tmp_path: Path, spark_session: Any) -> None:
    for call, message in (
        (lambda: to_arrow(small_store, columns=["no"]), "no metadata column 'no'"),
        (lambda: to_arrow(tmp_path / "nowhere"), "there is no such store"),
        (
            lambda: to_arrow(3),  # type: ignore[arg-type]
            "int: give a store, a selection or image sets",
        ),
        (lambda: to_spark(small_store, small_store), "`spark` is a EmbeddingStore; give a SparkSession"),  # type: ignore[arg-type]
        (lambda: to_arrow(small_store, vectors="sound"), "no modality 'sound'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(BadInput, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
