"""Workers and driver see each other's files, or the job stops before it begins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import jobs.shared_storage
from index.errors import BadInput
from jobs.shared_storage import SharedFolder, look


def test_a_folder_that_all_see_passes_and_is_left_clean(
    executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs.shared_storage, "_ITEMS", 3)
    SharedFolder(str(tmp_path)).check(executor, 2)
    assert list(tmp_path.iterdir()) == []
    assert "clipmine: " not in capfd.readouterr().err


def test_a_folder_is_checked_once_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int | None]] = []
    monkeypatch.setattr(jobs.shared_storage, "_check", lambda out, executor, workers: asked.append((executor, workers)))
    shared = SharedFolder(str(tmp_path))
    for executor in ("local", "spark", "spark", "local"):
        shared.check(executor, 2)
    assert asked == [("spark", 2)]


def test_a_folder_in_one_process_is_refused() -> None:
    with pytest.raises(BadInput, match=r"memory://shared: .* does not see what .* writes there; choose a folder"):
        SharedFolder("memory://shared").check("local", 2)


def test_a_folder_in_the_drivers_memory_is_refused_by_a_node_of_ray(ray_up: None) -> None:
    with pytest.raises(BadInput, match=r"memory://shared: .* does not see what .* writes there; choose a folder"):
        SharedFolder("memory://shared").check("ray", 2)


def test_answers_that_the_driver_does_not_see_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(probe: jobs.shared_storage._Probe, *_: object) -> list[jobs.shared_storage._Seen]:
        seen = look(0, probe)
        shutil.rmtree(probe.folder)  # what the workers wrote lies on their own disk
        return [jobs.shared_storage._Seen("node-7", seen.versions)]

    monkeypatch.setattr(jobs.shared_storage, "_ask", elsewhere)
    with pytest.raises(BadInput, match="does not see what node-7 writes there"):
        SharedFolder(str(tmp_path)).check("ray", 2)


def test_another_version_on_a_node_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def other(probe: jobs.shared_storage._Probe, *_: object) -> list[jobs.shared_storage._Seen]:
        seen = look(0, probe)
        return [jobs.shared_storage._Seen("node-7", {**seen.versions, "numpy": "1.26.4"})]

    monkeypatch.setattr(jobs.shared_storage, "_ask", other)
    SharedFolder(str(tmp_path)).check("ray", 2)
    assert "clipmine: node-7 has numpy 1.26.4, this machine " in capfd.readouterr().err
