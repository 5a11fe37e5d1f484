"""A folder is claimed for one job: that job continues in it, every other job is refused and told what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pytest

from index.errors import BadInput, OutputExists
from index.files import exists
from index.outputs import claim_folder, only_writer, remove_folder, unused_claim_released


@pytest.fixture(params=["local", "memory"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else f"memory://test_outputs/{tmp_path.name}/out"


def write(path: str, text: str) -> None:
    with fsspec.open(path, "w", auto_mkdir=True) as stream:
        stream.write(text)


@pytest.mark.parametrize("values", [False, True])
def test_a_claim_is_for_one_job_and_complete_once_its_manifest_is_there(out: str, values: bool) -> None:
    assert claim_folder(out, "job.json", {"k": 1}, values=values) is False
    assert claim_folder(out, "job.json", {"k": 1}, values=values) is False
    write(f"{out}/manifest.json", "{}")
    assert claim_folder(out, "job.json", {"k": 1}, values=values) is True
    with pytest.raises(OutputExists):
        claim_folder(out, "job.json", {"k": 2}, values=values)


def test_a_claim_of_hashes_names_the_fields_that_differ(tmp_path: Path) -> None:
    claim_folder(str(tmp_path), "job.json", {"k": 1, "concepts": ["a"], "seed": 0})
    with pytest.raises(OutputExists, match=r"another configuration \(other k, concepts\)"):
        claim_folder(str(tmp_path), "job.json", {"k": 2, "concepts": ["b"], "seed": 0})


def test_a_claim_of_values_names_the_first_value_that_differs(tmp_path: Path) -> None:
    job = {"batch_size": 8, "model": {"name": "a", "precision": "fp32"}}
    claim_folder(str(tmp_path), "job.json", job, values=True)
    assert json.loads((tmp_path / "job.json").read_text()) == job
    with pytest.raises(OutputExists, match="was begun with batch_size 8, not 16"):
        claim_folder(str(tmp_path), "job.json", {**job, "batch_size": 16}, values=True)
    for model in ({"name": "a", "precision": "bf16"}, {"name": "a", "precision": "fp32", "seed": 1}, {"name": "a"}):
        with pytest.raises(OutputExists, match=r"was begun with model (precision fp32|seed None), not"):
            claim_folder(str(tmp_path), "job.json", {**job, "model": model}, values=True)


def test_claims_that_older_versions_wrote_are_continued(tmp_path: Path) -> None:
    # What embedding and retrieving wrote before both claimed their folder through this module.
    (tmp_path / "embed.json").write_text('{\n "batch_size": 8,\n "model": {\n  "name": "a"\n }\n}\n')
    assert claim_folder(str(tmp_path), "embed.json", {"batch_size": 8, "model": {"name": "a"}}, values=True) is False
    k_1 = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # SHA-256 of "1"
    job = "a0da1fce57d0e4f9f0ae4e4cbe040d34dcc046255c6c8d18e97f55aaed0655f0"  # and of {"k":1}
    (tmp_path / "retrieve.json").write_text(json.dumps({"job": job, "parts": {"k": k_1}}) + "\n")
    assert claim_folder(str(tmp_path), "retrieve.json", {"k": 1}) is False


@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_a_damaged_claim_is_refused(tmp_path: Path, text: str, values: bool) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(OutputExists, match="is damaged"):
        claim_folder(str(tmp_path), "job.json", {}, values=values)


def test_foreign_files_are_never_written_among(out: str) -> None:
    write(f"{out}/notes.txt", "mine")
    with pytest.raises(OutputExists, match="is not empty and holds no run to continue"):
        claim_folder(out, "job.json", {})


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExists, match="is a file"):
        claim_folder(str(tmp_path / "file"), "job.json", {})


def test_what_a_killed_claim_left_does_not_hinder_the_next(out: str) -> None:
    write(f"{out}/.job.json.12-34.partial", "{")
    assert claim_folder(out, "job.json", {}) is False


def test_a_removed_folder_can_be_claimed_by_another_job(out: str) -> None:
    claim_folder(out, "job.json", {})
    remove_folder(out)
    assert claim_folder(out, "job.json", {"other": 1}) is False


def test_removing_what_is_gone_is_no_error(out: str) -> None:
    remove_folder(out)


def test_the_lock_is_gone_after_an_error_and_a_file_is_left_to_the_claim(out: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of ours"), only_writer(out):
        raise ValueError("of ours")
    with only_writer(out):
        assert claim_folder(out, "job.json", {}) is False
    (tmp_path / "file").write_text("x")
    with only_writer(str(tmp_path / "file")):
        pass
    assert (tmp_path / "file").read_text() == "x"


def fail(out: str, error: BaseException, *files: str, besides: Sequence[str] = ()) -> None:
    """A job that claims `out`, writes `files` (empty ones where a name ends in "!") and ends with the error."""
    with unused_claim_released(out, "job.json", besides):
        claim_folder(out, "job.json", {"k": 1})
        for name in files:
            write(f"{out}/{name.rstrip('!')}", "" if name.endswith("!") else "rows")
        raise error


@pytest.mark.parametrize("error", [BadInput("the model is unknown"), KeyboardInterrupt()])
def test_a_run_that_wrote_nothing_but_its_claim_gives_it_back(out: str, error: BaseException) -> None:
    hints = ["hint.json", "work/plan.json"]
    with pytest.raises(type(error)):
        fail(out, error, *hints, ".half.1-1.partial", besides=hints)
    assert not [name for name in ("job.json", *hints) if exists(f"{out}/{name}")]
    assert claim_folder(out, "job.json", {"k": 2}) is False


def test_a_new_folder_goes_with_its_claim_and_one_that_was_there_stays(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    for folder in (old, new):
        with pytest.raises(ValueError, match="of ours"):
            fail(str(folder), ValueError("of ours"), "log.jsonl!", "parts/log.jsonl!")
    assert sorted(tmp_path.iterdir()) == [old]
    assert not list(old.iterdir())


def test_a_run_that_has_output_keeps_its_claim(out: str) -> None:
    with pytest.raises(ValueError, match="of ours"):
        fail(out, ValueError("of ours"), "parts/0000.npy")
    with only_writer(out), pytest.raises(OutputExists, match="another configuration"):
        claim_folder(out, "job.json", {"k": 2})
    assert claim_folder(out, "job.json", {"k": 1}) is False


def test_the_claim_of_another_job_is_not_released(out: str) -> None:
    claim_folder(out, "job.json", {"k": 2})
    with pytest.raises(OutputExists, match="another configuration"):
        fail(out, ValueError("of ours"))
    assert claim_folder(out, "job.json", {"k": 2}) is False


def test_a_claim_that_a_killed_run_left_alone_is_taken_over_by_the_only_writer(out: str) -> None:
    claim_folder(out, "job.json", {"k": 1}, values=True)
    write(f"{out}/hint.json", "{}")
    write(f"{out}/work/a.json", "{}")
    with pytest.raises(OutputExists, match="was begun with k 1, not 2"):
        claim_folder(out, "job.json", {"k": 2}, values=True, besides=["hint.json", "work/a.json"])
    with only_writer(out):
        with pytest.raises(OutputExists, match="was begun with k 1, not 2"):
            claim_folder(out, "job.json", {"k": 2}, values=True)
        assert claim_folder(out, "job.json", {"k": 2}, values=True, besides=["hint.json", "work/a.json"]) is False
    assert claim_folder(out, "job.json", {"k": 2}, values=True) is False
