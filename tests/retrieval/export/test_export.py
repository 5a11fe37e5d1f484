from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput, ImagesNotLocal, OutputExists
from index.store.embedding_store import EmbeddingStore
from index.store.output_register import holding_outputs
from retrieval import Rules, Selection, export_selection
from tests.retrieval.export.conftest import select
from tests.retrieval.stores import forget, make_store, random_unit


def test_a_store_without_images_points_to_urls_and_fetch(tmp_path: Path) -> None:
    adopted = make_store(tmp_path, random_unit(20), local=False)
    selection = select(adopted, tmp_path / "selection")
    with pytest.raises(ImagesNotLocal, match=r"--format urls.*clipmine fetch"):
        export_selection(selection, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_selection(selection, tmp_path / "out", format="urls").exported == selection.rows


def test_a_url_list_is_one_img2dataset_reads(store: EmbeddingStore, tmp_path: Path) -> None:
    selection = select(store, tmp_path / "selection")
    summary = export_selection(selection, tmp_path / "out", format="urls")
    assert summary.asked == summary.exported == selection.rows
    table = pq.read_table(tmp_path / "out/urls.parquet")
    assert table.column_names[:4] == ["url", "caption", "row_id", "source_key"]
    assert table["url"].to_pylist() == [f"http://example.org/{row}.jpg" for row in table["row_id"].to_pylist()]


def test_rows_without_a_url_are_counted(tmp_path: Path) -> None:
    urls = [None if number % 2 else f"http://example.org/{number}" for number in range(20)]
    store = make_store(tmp_path, random_unit(20), urls=urls)
    selection = select(store, tmp_path / "selection")
    summary = export_selection(selection, tmp_path / "out", format="csv")
    assert summary.left_out["no url"] > 0
    assert summary.asked == summary.exported + summary.left_out["no url"]
    assert pa_csv.read_csv(tmp_path / "out/urls.csv").num_rows == summary.exported


def test_no_url_at_all_is_an_error(tmp_path: Path) -> None:
    selection = select(make_store(tmp_path, random_unit(20), urls=[None] * 20), tmp_path / "selection")
    with pytest.raises(BadInput, match="none of its rows has a URL"):
        export_selection(selection, tmp_path / "out", format="urls")


def test_an_export_goes_into_a_folder_of_its_own(selection: Selection, tmp_path: Path) -> None:
    export_selection(selection, tmp_path / "out")
    assert export_selection(selection, tmp_path / "out").exported == selection.rows
    with pytest.raises(OutputExists, match="another configuration"):
        export_selection(selection, tmp_path / "out", shard_size=5)
    with pytest.raises(OutputExists):
        export_selection(selection, tmp_path / "out", format="urls")
    with pytest.raises(BadInput, match="valid ones: webdataset, urls, csv"):
        export_selection(selection, tmp_path / "out2", format="tfrecord")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="at least 1"):
        export_selection(selection, tmp_path / "out2", shard_size=0)


def test_an_empty_selection_is_not_exported(store: EmbeddingStore, tmp_path: Path) -> None:
    empty = select(store, tmp_path / "empty", rules=Rules(min_score=1.0))
    with pytest.raises(BadInput, match="selected no rows"):
        export_selection(empty, tmp_path / "out")


def listed(out: Path) -> list[int]:
    if (out / "urls.csv").exists():
        return pa_csv.read_csv(out / "urls.csv")["row_id"].to_pylist()  # type: ignore[no-any-return]
    return pq.read_table(out / "urls.parquet")["row_id"].to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("format", ["urls", "csv"])
@pytest.mark.parametrize("rewritten", [False, True])
def test_a_list_is_written_again_without_rows_forgotten_since(
    store: EmbeddingStore, tmp_path: Path, format: Literal["urls", "csv"], rewritten: bool
) -> None:
    selection = select(store, tmp_path / "selection")
    first = export_selection(selection, tmp_path / "out", format=format)
    row = listed(tmp_path / "out")[0]
    forget(store, [row])
    assert [output.path for output in holding_outputs(store) if output.kind == "export"] == [str(tmp_path / "out")]
    if rewritten:
        select(store, tmp_path / "selection")
    again = export_selection(tmp_path / "selection", tmp_path / "out", format=format)
    assert row not in listed(tmp_path / "out")
    assert (again.asked, again.exported) == (first.asked, first.exported - 1)
    assert again.left_out == {"forgotten": 1}
    assert export_selection(tmp_path / "selection", tmp_path / "out", format=format) == again
    forget(store, listed(tmp_path / "out"))
    assert export_selection(tmp_path / "selection", tmp_path / "out", format=format).exported == 0
    assert listed(tmp_path / "out") == []
    assert not [output for output in holding_outputs(store) if output.kind == "export"]
