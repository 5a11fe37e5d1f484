"""`clipmine index`: both modalities or one, and what cannot be indexed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.jobs.running import Fails, Run, counts


def test_both_modalities_are_indexed_and_their_recall_is_told(store: Path, clipmine: Run) -> None:
    lines = clipmine("index", store)
    assert counts(lines)["image: indexed"] == counts(lines)["text: indexed"] == 33
    assert sum("recall@10" in line for line in lines) == 2
    assert lines[-1] == f"next: clipmine retrieve {store} --concepts FILE --out SELECTION"


def test_the_graphs_parameters_reach_the_index(store: Path, clipmine: Run) -> None:
    asked = ["--modality", "text", "-M", 8, "--ef-construction", 20, "--memory", "1GB", "--queries", 5, "--json"]
    (summary,) = json.loads(clipmine("index", store, *asked)[0])
    assert (summary["modality"], summary["rows"]) == ("text", 33)
    written = json.loads((store / "index" / "text" / "index.json").read_text())
    assert (written["spec"]["M"], written["spec"]["ef_construction"]) == (8, 20)


def test_a_missing_part_is_named(store: Path, concepts: Path, tmp_path: Path, fails: Fails) -> None:
    (store / "img_emb/img_emb_0001.npy").unlink()
    for command in (["index", store], ["retrieve", store, "--concepts", concepts, "--out", tmp_path / "s", "-k", 3]):
        line, status = fails(*command)
        assert "0001" in line
        assert status == 2


def test_a_store_that_is_none(tmp_path: Path, fails: Fails) -> None:
    missing = tmp_path / "nothing"
    assert fails("index", missing) == (f"clipmine: error: {missing}: there is no such store", 2)


def test_sizes_are_read_with_their_units(store: Path, fails: Fails) -> None:
    line, status = fails("index", store, "--memory", "much")
    assert "much" in line
    assert status == 2
    shutil.rmtree(store / "text_emb")
    assert fails("index", store, "--modality", "text")[1] == 2
