"""A folder that a command does not take is named by what it is, with the command that takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.errors import BadInput
from jobs.folders import refuse_other_folder
from mining.export import to_webdataset
from tests.mining.made_sets import write_foreign_sets


def test_what_a_folder_is_and_what_takes_it(store: Path, small_selection: str, tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]])
    to_webdataset(sets, tmp_path / "tars")
    for name, file in (("tuned", "tune.json"), ("results", "lmm_results.json"), ("clip", "open_clip_config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    for path, said in (
        (sets.path, "is image sets, not a thing; what takes it: clipmine annotate "),
        (str(tmp_path / "tars"), "is tars of image sets, not a thing; what takes it: clipmine tune --data "),
        (small_selection, "is a selection, not a thing; what takes it: clipmine export "),
        (str(store), "is a store, not a thing; what takes it: clipmine retrieve "),
        (str(tmp_path / "tuned"), "is a tuned model, not a thing; what takes it: clipmine evaluate "),
        (str(tmp_path / "results"), "is the results of clipmine evaluate, not a thing"),
        (str(tmp_path / "clip"), "is a CLIP model, not a thing"),
    ):
        with pytest.raises(BadInput) as raised:
            refuse_other_folder(path, "a thing")
        assert f"{path}: {said}" in str(raised.value)


def test_what_is_taken_or_unknown_is_left_to_the_command(store: Path, tmp_path: Path) -> None:
    refuse_other_folder(str(store), "a store or image sets")
    (tmp_path / "manifest.json").write_text(json.dumps(["x"]))
    for path in (str(tmp_path), str(tmp_path / "none"), "memory://x"):
        refuse_other_folder(path, "a store")
