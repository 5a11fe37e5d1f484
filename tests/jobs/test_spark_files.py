"""What spark-submit sends to machines without our packages: an archive, and a launcher that needs nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.spark_files import main, write_spark_files


def test_the_launcher_runs_commands_from_the_archive(tmp_path: Path) -> None:
    archive, launcher = write_spark_files(tmp_path / "files")
    # Spark puts the archive on the path, as PYTHONPATH does here, before the installed packages.
    environment = {**os.environ, "PYTHONPATH": str(archive)}
    told = "import index, jobs.cli; print(index.__file__, jobs.cli.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, env=environment, check=True, cwd=tmp_path
    )
    assert done.stdout.count(str(archive)) == 2
    helped = subprocess.run(
        [sys.executable, str(launcher), "embed", "--help"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        cwd=tmp_path,
    )
    assert "Embed SRC into a store" in helped.stdout


def test_the_command_to_use_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["spark_files", str(tmp_path)])
    assert main() == 0
    assert (
        capsys.readouterr().out
        == f"spark-submit --py-files {tmp_path}/clipmine.zip {tmp_path}/clipmine-spark.py COMMAND ...\n"
    )
    for wrong in (["spark_files"], ["spark_files", "--help"]):
        monkeypatch.setattr(sys, "argv", wrong)
        assert main() == 2
    assert "usage: python -m jobs.spark_files DIR" in capsys.readouterr().err
