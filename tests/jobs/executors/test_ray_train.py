"""What a Ray Train job reports: paths for its workers, and the error that counts. Training itself: the jobs' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from jobs.executors.attempts import Outcome, attempt
from jobs.executors.ray_train import _Failures, absolute


def failed(error: Exception) -> Outcome:
    def fail(*_: object) -> None:
        raise error

    return attempt(fail, 0, None, None)


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("out") == str(tmp_path / "out")
    assert absolute("s3://bucket/out") == "s3://bucket/out"
    assert absolute(None) is None


def test_a_users_error_wins_over_the_lost_connections_that_it_causes() -> None:
    failures = _Failures()
    for error in (RuntimeError("connection closed by peer"), ValueError("a bug"), BadInput("no such file")):
        failures.add(failed(error))
    found = failures.take()
    assert found is not None
    assert found.failure is not None
    assert found.failure.message == "no such file"
    failures.add(failed(RuntimeError("connection closed by peer")))
    assert failures.take() is None
