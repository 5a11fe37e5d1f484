"""One job at a time writes in a folder; the next one is told who writes there, and takes a dead job's lease."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

import index.lease
from index.errors import OutputExists
from index.lease import EXPIRES, is_held_here, only_writer

_HOLD = """
import sys
from index.lease import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["local", "memory"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "out") if request.param == "local" else f"memory://test_lease/{tmp_path.name}/out"


def lease_of(out: str, host: str, age: float, pid: int = 77) -> None:
    """Write the lease of another machine's job, renewed `age` seconds ago."""
    renewed = (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="seconds")
    plain = {"who": "ada", "host": host, "pid": pid, "since": "2026-01-02T03:04:05+00:00", "renewed": renewed}
    write(out, json.dumps(plain | {"token": "theirs"}))


def write(out: str, text: str) -> None:
    if "://" not in out:
        Path(out).mkdir(parents=True, exist_ok=True)
    with fsspec.open(f"{out}/.writer.json", "w") as stream:
        stream.write(text)


def test_a_second_writer_is_told_who_writes_where_and_since_when(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with subprocess.Popen([sys.executable, "-c", _HOLD, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        said = (
            rf"out: another process is writing there \(.+ on .+, process {other.pid}, since 20..-.+ UTC\); wait for it"
        )
        with pytest.raises(OutputExists, match=said), only_writer(out):
            pass
        other.kill()
        other.wait()
    assert (tmp_path / "out" / ".writer.json").exists()
    with only_writer(out):  # a dead writer of this machine is noticed at once
        assert json.loads((tmp_path / "out" / ".writer.json").read_text())["pid"] == os.getpid()
    assert not list(Path(out).iterdir())


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for name in ("new", "old", "used"):
        with only_writer(str(tmp_path / name)):
            assert (tmp_path / name).is_dir()
            if name == "used":
                (tmp_path / name / "file").write_text("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "used"]


def test_two_writers_in_an_object_store_are_one_too_many(tmp_path: Path) -> None:
    out = f"memory://test_lease/{tmp_path.name}/out"
    with (
        only_writer(out) as lease,
        pytest.raises(OutputExists, match="another process is writing there"),
        only_writer(out),
    ):
        pass
    with only_writer(out) as again:
        assert again is not lease


def test_the_lease_of_another_machine_holds_until_it_expires(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index.lease, "_SETTLED", 0)
    lease_of(out, "elsewhere", EXPIRES / 2)
    with pytest.raises(OutputExists, match=r"ada on elsewhere, process 77, since 2026-01-02 03:04 UTC.*if it has died"):
        only_writer(out).__enter__()
    lease_of(out, "elsewhere", 2 * EXPIRES)
    with only_writer(out) as lease:
        lease.check()


def test_a_damaged_lease_of_a_dead_job_hinders_nobody(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index.lease, "_SETTLED", 0)
    for text in ("", "[]", '{"renewed": 5}'):
        write(out, text)
        with only_writer(out):
            pass


def test_a_writer_that_lost_its_lease_is_stopped_before_it_replaces_files(out: str) -> None:
    with only_writer(out) as lease:
        lease.check()
        lease_of(out, "elsewhere", 0)
        with pytest.raises(OutputExists, match=r"lost its right to write there \(ada on elsewhere.*run it again later"):
            lease.check()
    with fsspec.open(f"{out}/.writer.json") as stream:
        assert json.load(stream)["token"] == "theirs"  # another job's lease stays


def test_a_lease_is_renewed_while_its_job_runs(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index.lease, "_RENEWED_EVERY", 0.001)
    with only_writer(out) as lease:
        written = lease._path
        monkeypatch.setattr(index.lease, "_now", lambda: "2031-01-01T00:00:00+00:00")
        for _ in range(10_000):
            with fsspec.open(written) as stream:
                if json.load(stream)["renewed"].startswith("2031"):
                    break
            lease._stop.wait(0.001)
        else:
            pytest.fail("was not renewed")


def test_a_folder_without_locks_is_leased_by_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "out")

    def no_locks(_: int, __: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(index.lease, "_SETTLED", 0)
    with only_writer(out), pytest.raises(OutputExists, match="another process"), only_writer(out):
        pass
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    lease_of(out, socket.gethostname(), 0, ended.pid)
    with only_writer(out):
        pass


def test_a_folder_that_is_not_ours_to_write_is_not_leased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with only_writer(str(tmp_path)) as lease:
        lease.check()


def test_a_lease_that_could_not_be_given_back_does_not_stop_the_same_process(out: str) -> None:
    lease_of(out, socket.gethostname(), 0, os.getpid())
    with only_writer(out) as lease:
        lease.check()


def test_folders_that_were_made_for_a_lease_go_with_it_if_nothing_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deeper" / "out"
    with only_writer(str(folder)):
        assert is_held_here(str(folder))
    assert not is_held_here(str(folder))
    assert not list(tmp_path.iterdir())
    with only_writer(str(folder)):
        (tmp_path / "new" / "notes.txt").write_text("mine")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["notes.txt"]
