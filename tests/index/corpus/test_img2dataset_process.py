"""The process around img2dataset dies with the process that started it."""

from __future__ import annotations

import json
import socket
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


def test_a_port_that_is_not_ray_s_is_given_up_with_one_line() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code = f"from index.corpus import img2dataset_process as p; p.JOIN_SECONDS = 1; p.join_ray({address!r})"
        ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == f"RAY_ADDRESS {address}: no Ray cluster answers there within 1 s"
