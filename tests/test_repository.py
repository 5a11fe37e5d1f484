"""The repository itself: packages, start-up time, the lock."""

from __future__ import annotations

import importlib
import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import COMMANDS

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "open_clip", "faiss", "ray", "pyspark", "img2dataset", "cv2", "pandas", "transformers", "pyarrow")


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _listed_packages() -> list[str]:
    packages: list[str] = _project()["tool"]["setuptools"]["packages"]
    return packages


def _modules() -> list[str]:
    files = [file for name in _listed_packages() for file in (ROOT / name.replace(".", "/")).glob("*.py")]
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)
    return sorted(name.removesuffix(".__init__") for name in names)


def test_every_folder_with_code_is_a_listed_package() -> None:
    roots = {name.split(".")[0] for name in _listed_packages()}
    found = {".".join(file.parent.relative_to(ROOT).parts) for root in roots for file in (ROOT / root).rglob("*.py")}
    assert found == set(_listed_packages())


def test_tests_mirror_the_packages() -> None:
    test_folders = {file.parent.relative_to(ROOT / "tests").parts for file in (ROOT / "tests").rglob("test_*.py")}
    packages = {tuple(name.split(".")) for name in _listed_packages()}
    assert test_folders - {()} <= packages


@pytest.mark.parametrize("module", _modules())
def test_every_module_is_importable_and_says_its_purpose(module: str) -> None:
    assert importlib.import_module(module).__doc__


def test_help_takes_under_half_a_second_of_cpu_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; from jobs.cli import run; run(['--help']); "
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "heavy: []" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_loads_nothing_heavy(command: str) -> None:
    program = (
        f"import sys; from jobs.cli import run; status = run([{command!r}, '--help']); "
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert f"Usage: clipmine {command}" in done.stdout
    assert "heavy: []" in done.stdout


def test_the_lock_holds_names_and_versions_only() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s;]+( ; .+)?", line), line
        assert "://" not in line


def test_the_lock_pins_every_dependency() -> None:
    pinned = {re.split("==", line)[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    project = _project()["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["spark"], *extras["dev"]]
    for requirement in wanted:
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")
        assert name in pinned, name


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).parent / "clipmine"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout == f"clipmine {_project()['project']['version']}\n"


def test_no_file_is_written_through_a_memory_map() -> None:
    """A full disk kills a process that writes so, without a word; `index.npy_stream` writes arrays piece by piece."""
    writes = re.compile(r"""open_memmap|ACCESS_WRITE|mmap_mode=["'][rw]\+|memmap\(.*["'][rw]\+""")
    floors = [ROOT / name for name in ("index", "retrieval", "mining", "customize", "jobs")]
    files = [file for floor in floors for file in floor.rglob("*.py")]
    assert [str(file) for file in files if writes.search(file.read_text())] == []


def test_no_thread_of_arrow_holds_a_python_object() -> None:
    """One that lets go of it while the process ends aborts the process; `index.parquet` reads so that none does."""
    threaded = re.compile(r"pq\.read_|pq\.ParquetFile\(|(open|read)_csv\(open_file|\.group_by\(")
    reads_local_paths = {ROOT / "index/parquet.py", ROOT / "index/store/metadata.py"}
    floors = [ROOT / name for name in ("index", "retrieval", "mining", "customize", "jobs")]
    lines = [
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in (file for floor in floors for file in floor.rglob("*.py") if file not in reads_local_paths)
        for line in file.read_text().splitlines()
        if threaded.search(line) and "use_threads=False" not in line
    ]
    assert lines == []
