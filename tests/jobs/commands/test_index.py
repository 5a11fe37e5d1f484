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


def test_what_the_first_index_fixed_stays_and_a_grown_one_that_does_not_fit_is_told(store: Path, clipmine: Run) -> None:
    clipmine("index", store, "--modality", "image", "-M", 8, "--ef-construction", 20, "--shard-rows", "20")
    lines = clipmine("index", store, "--modality", "image", "--memory", "2kB")
    assert counts(lines)["image: indexed"] == 33
    assert any(line.split() == ["image:", "shards", "2", "of", "fp16,", *line.split()[-2:]] for line in lines)
    (note,) = (line for line in lines if line.startswith("note"))
    assert "more than the memory of 2.0 kB: searches read the rest from disk" in note
    assert f"`clipmine index {store} --codec sq8`" in note
    written = json.loads((store / "index" / "image" / "index.json").read_text())
    assert (written["spec"], written["shard_rows"]) == ({"codec": "fp16", "M": 8, "ef_construction": 20}, 20)
    (summary,) = json.loads(clipmine("index", store, "--modality", "image", "--codec", "sq8", "--json")[0])
    assert (summary["codec"], summary["shards"]) == ("sq8", 2)


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


def test_a_pilot_is_shown_by_info(store: Path, clipmine: Run) -> None:
    (summary,) = json.loads(clipmine("index", store, "--modality", "image", "--pilot", "--json")[0])
    assert summary["codec"] in ("fp16", "sq8", "sq4", "rabitq")
    table = [line for line in clipmine("info", store) if line.split()[:1] in (["sq4"], ["rabitq"], ["pilot"])]
    assert len(table) == 3
