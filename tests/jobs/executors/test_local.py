"""The local executor: this process for one worker, spawned processes for more, and how they start and end."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from jobs.executors import local
from jobs.executors.attempts import Work, WorkerDied
from jobs.executors.execute import execute
from tests.jobs.arithmetic import Number, Trouble, square

ITEMS = [Number(number) for number in range(4)]


def test_one_worker_is_this_process() -> None:
    results = execute("local", square, ITEMS, Trouble(), workers=1, shared=None, label="square")
    assert {result.process for result in results} == {os.getpid()}


def test_a_users_own_number_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    results = execute("local", square, ITEMS, Trouble(), workers=2, shared=None, label="square")
    assert {result.threads for result in results} == {"7"}


def test_a_worker_with_a_gpu_has_the_gpus_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local, "usable_cores", lambda: 16)
    monkeypatch.setattr(local, "_visible_gpus", lambda: ["0", "1"])
    outcomes = list(local.run(Work("square", square, ITEMS, Trouble()), workers=None, threads=4, gpu=True))
    assert {outcome.result.threads for outcome in outcomes} == {"8"}
    assert len({outcome.result.process for outcome in outcomes}) == 2


def test_the_environment_is_as_before_once_workers_have_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with local._environment(3, "1"):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("3", "1")
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_a_worker_that_the_system_kills_is_told_with_its_signal() -> None:
    with pytest.raises(WorkerDied, match="killed by SIGKILL, as the system does when memory runs out"):
        execute("local", square, ITEMS, Trouble(3, "killed"), workers=2, shared=None, label="square")


def test_closing_the_outcomes_ends_the_workers(tmp_path: Path) -> None:
    outcomes = local.run(Work("square", square, ITEMS, Trouble()), workers=2, threads=1, gpu=False)
    with closing(outcomes):
        process = next(outcomes).result.process
        assert Path(f"/proc/{process}").exists()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{process}").exists()
    assert not subprocess.run(["pgrep", "-P", str(process)], capture_output=True, check=False).stdout
