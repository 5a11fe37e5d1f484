"""Workers and driver see each other's files, or the job stops before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import jobs.shared_storage
from index.errors import BadInput
from jobs.shared_storage import check_shared_storage


def test_a_folder_that_all_see_passes_and_is_left_clean(
    executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.shared_storage, "_ITEMS", 3)
    check_shared_storage(str(tmp_path), executor, 2)
    assert not (tmp_path / "work/shared").exists()


def test_a_folder_in_one_process_is_refused() -> None:
    with pytest.raises(BadInput, match=r"memory://shared: .* does not see what .* writes there; choose a folder"):
        check_shared_storage("memory://shared", "local", 2)


def test_answers_that_the_driver_does_not_see_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(executor: str, function: object, items: list[int], *given: object, **choices: object) -> list[str]:
        shutil.rmtree(tmp_path / "work/shared")  # what the workers wrote lies on their own disk
        return ["node-7"] * len(items)

    monkeypatch.setattr(jobs.shared_storage, "execute", elsewhere)
    with pytest.raises(BadInput, match="does not see what node-7 writes there"):
        check_shared_storage(str(tmp_path), "ray", 2)
