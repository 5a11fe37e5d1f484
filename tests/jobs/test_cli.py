"""The command itself: how it starts, one line for each error, its exit status, and what stands on stdout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.cli import COMMANDS, run
from tests.jobs.running import Fails, clipmine_command, heed_ctrl_c

ROOT = Path(__file__).parents[2]


def test_bad_usage_is_one_line_that_points_to_the_help(fails: Fails) -> None:
    listed = ", ".join(COMMANDS)
    assert fails("embedd") == (
        f"clipmine: error: there is no command 'embedd'; the commands are {listed}; see clipmine --help",
        2,
    )
    line, status = fails("index", "store", "--executor", "slurm")
    assert (line, status) == (
        "clipmine: error: Invalid value for '--executor': 'slurm' is not one of 'local', 'ray', 'spark'; "
        "see clipmine index --help",
        2,
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("retrieve store --k 5", "No such option '--k'. Did you mean '-k'?; see clipmine retrieve --help"),
        ("embed photos --outt store", "No such option '--outt'. Did you mean '--out'?; see clipmine embed --help"),
        ("embed photos --quux 5", "No such option '--quux'; see clipmine embed --help"),
    ],
)
def test_an_option_that_is_not_there_suggests_one_that_is(given: str, says: str, fails: Fails) -> None:
    assert fails(*given.split()) == (f"clipmine: error: {says}", 2)


@pytest.mark.parametrize("start", [[str(ROOT / "jobs" / "cli.py")], ["-m", "jobs.cli"]], ids=["path", "module"])
def test_it_starts_from_any_folder(start: list[str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, *start, "plan", "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage: clipmine plan" in done.stdout


NOT_INSTALLED = """
import importlib.util, runpy, sys
sys.path[:] = [entry for entry in sys.path if entry and not entry.startswith({root!r} + "/jobs")]
sys.path[:] = [entry for entry in sys.path if entry != {root!r}]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path_hooks[:] = [hook for hook in sys.path_hooks if "editable" not in repr(hook)]
sys.path_importer_cache.clear()
assert importlib.util.find_spec("jobs") is None, "the packages are still found"
sys.argv = [{script!r}, "plan", "--rows", "1M", "--memory", "1GB"]
sys.path.insert(0, {root!r} + "/jobs")  # as `python jobs/cli.py` does
runpy.run_path({script!r}, run_name="__main__")
"""


def test_it_starts_by_path_where_the_package_is_not_installed(tmp_path: Path) -> None:
    program = NOT_INSTALLED.format(root=str(ROOT), script=str(ROOT / "jobs" / "cli.py"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "shards" in done.stdout


def test_no_module_beside_the_command_hides_a_package() -> None:
    """`python jobs/cli.py` puts jobs/ on Python's path, where a module could hide a package of the same name."""
    names = {path.stem for path in (ROOT / "jobs").iterdir() if not path.name.startswith("__")}
    assert not names & set(sys.stdlib_module_names)
    assert not names & {"clipmine", "tests", *(path.parent.name for path in ROOT.glob("*/__init__.py"))}


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path: Path, fails: Fails) -> None:
    store = tmp_path / "store"
    (store / "manifest.json").mkdir(parents=True)
    line, status = fails("info", store)
    assert f"{store}/manifest.json: is a folder where a file belongs; move it away and run the same" in line
    assert status == 2


def test_a_full_disk(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    """On a real file system of 24 kB, mounted where only the command sees it."""
    out = tmp_path / "store"
    out.mkdir()
    embed = clipmine_command("embed", small_corpus, "--out", out, "--model-dir", tiny_clip_dir)
    script = 'out=$1; shift; mount -t tmpfs -o size=24k none "$out"; "$@"; status=$?; find "$out" -type f >&2'
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*apart, "sh", "-c", f"{script}; exit $status", "sh", out, *embed], capture_output=True, text=True, check=False
    )
    *_, line = [line for line in done.stderr.splitlines() if line.startswith("clipmine: ")]
    assert "no space left on the disk" in line
    assert done.returncode == 1
    left = done.stderr.split(line)[1].splitlines()
    assert str(out / "embed.json") in left
    assert not [name for name in left if "manifest" in name or "done" in name or ".partial" in name]


def test_an_unforeseen_error_is_one_line_unless_debug_is_asked_for(
    fails: Fails, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the sky\nis falling")

    monkeypatch.setattr("index.graph.capacity.plan_capacity", broken)
    line, status = fails("plan", "--rows", "1M", "--memory", "1GB")
    assert line == (
        "clipmine: error: RuntimeError: the sky is falling (unforeseen: run again with --debug to see where)"
    )
    assert status == 1
    assert run(["plan", "--rows", "1M", "--memory", "1GB", "--debug"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_ctrl_c_says_how_to_go_on(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    command = clipmine_command("embed", small_corpus, "--out", out, "--workers", 2, "--model-dir", tiny_clip_dir)
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
    )
    while not (out / "embed.json").exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and its workers
    _, errors = process.communicate(timeout=60)
    assert errors.splitlines()[-1] == "clipmine: interrupted; run the same command again to resume"
    assert "Traceback" not in errors
    assert process.returncode == 130


def test_json_is_all_that_stands_on_stdout(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["embed", small_corpus, "--out", tmp_path / "store", "--model-dir", tiny_clip_dir, "--json"]
    assert run([str(argument) for argument in arguments]) == 0
    captured = capfd.readouterr()
    summary = json.loads(captured.out)
    assert summary["store"]["rows"] == 33
    assert "embed: 2/2 items, 33 rows" in captured.err
