"""The process around img2dataset dies with the process that started it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_it_dies_when_its_standard_input_closes(tmp_path: Path) -> None:
    (tmp_path / "urls").mkdir()
    arguments = {"url_list": str(tmp_path / "urls"), "output_folder": str(tmp_path), "distributor": "multiprocessing"}
    command = [sys.executable, "-m", "index.corpus.img2dataset_process", json.dumps(arguments), "{}"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=120) == -9
