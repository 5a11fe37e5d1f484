from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import OutputExists
from index.outputs import claim_folder, remove_folder


def test_a_claim_is_for_one_job_and_complete_once_its_manifest_is_there(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert claim_folder(out, "job.json", {"k": 1}) is False
    assert claim_folder(out, "job.json", {"k": 1}) is False
    (tmp_path / "out/manifest.json").write_text("{}")
    assert claim_folder(out, "job.json", {"k": 1}) is True
    with pytest.raises(OutputExists, match="another configuration"):
        claim_folder(out, "job.json", {"k": 2})


def test_a_damaged_claim_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(OutputExists):
        claim_folder(str(tmp_path), "job.json", {})


def test_a_file_or_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(OutputExists, match="not ours"):
            claim_folder(str(path), "job.json", {})


def test_claims_work_on_object_stores() -> None:
    assert claim_folder("memory://claims/out", "job.json", {}) is False
    with pytest.raises(OutputExists):
        claim_folder("memory://claims", "job.json", {})
    remove_folder("memory://claims/out")
    assert claim_folder("memory://claims/out", "job.json", {"other": 1}) is False


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    remove_folder(tmp_path / "none")
