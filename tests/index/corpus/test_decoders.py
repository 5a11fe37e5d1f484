"""Processes decode to the same pixels as threads, survive a crash and a kill, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index.corpus import decoders as decoders_module
from index.corpus.decoders import DecoderDied, Decoders, ScaledImage, scale_image
from index.corpus.image_decoding import ImageRejected
from index.encoder.scaling import Scaling
from tests.index.corpora import encode, picture
from tests.jobs.running import heed_ctrl_c

SCALING = Scaling((24, 24))
BOUNDS = (1 << 20, 10_000)
JXL = b"\xff\x0a a JPEG XL image"
SCRIPT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from index.corpus.decoders import Decoders
from index.encoder.scaling import Scaling

decoders = Decoders(Scaling((24, 24)), 1 << 20, 10_000)
image = open(sys.argv[1], "rb").read()
with ThreadPoolExecutor(2) as pool:
    for number, _ in enumerate(pool.map(decoders, [image] * 20_000)):
        if number == 20:
            print("decoding", flush=True)
"""


def images(count: int) -> list[bytes]:
    chance = np.random.default_rng(0)
    sizes = chance.integers(10, 90, (count, 2))
    return [encode(Image.fromarray(chance.integers(0, 255, (h, w, 3), dtype=np.uint8)), "JPEG") for w, h in sizes]


def codec_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Install a plug-in for JPEG XL that does something else when it is loaded."""
    (tmp_path / "pillow_jxl.py").write_text(f"import os, pathlib\n{does}\n")
    monkeypatch.syspath_prepend(tmp_path)


def children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in found.split()]


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_pixels_and_rejects_are_those_of_this_process_in_the_order_of_the_images() -> None:
    decoders = Decoders(SCALING, *BOUNDS)
    files = images(40)
    files[7], files[13], files[20] = b"junk", files[13][:200], picture(size=(200, 200))

    def outcome(call: Callable[[bytes], ScaledImage], data: bytes) -> object:
        try:
            width, height, pixels = call(data)
        except ImageRejected as rejected:
            return rejected.reason
        return width, height, pixels.shape, pixels.tobytes()

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda data: outcome(decoders, data), files))
    assert found == [outcome(lambda data: scale_image(data, SCALING, *BOUNDS), data) for data in files]
    assert [found[number] for number in (7, 13, 20)] == ["unknown_format", "broken_image", "too_many_pixels"]
    processes = {decoder.process.pid for decoder in decoders._free}
    assert 2 <= len(processes) <= 3
    assert os.getpid() not in processes


def test_pixels_stay_when_the_process_goes_on_with_the_next_image() -> None:
    decoders = Decoders(SCALING, *BOUNDS)
    first = decoders(picture((255, 0, 0)))[2]
    decoders(picture((0, 0, 255)))
    assert len(decoders._free) == 1
    assert first[0, 0].tolist() == [255, 0, 0]


def test_an_image_on_which_the_codec_crashes_is_rejected_and_the_others_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec_that(tmp_path, monkeypatch, "os.kill(os.getpid(), 11)")
    decoders = Decoders(SCALING, *BOUNDS)
    with pytest.raises(ImageRejected, match="decoder_crashed"):
        decoders(JXL)
    assert decoders(picture())[:2] == (8, 6)


def test_an_image_whose_process_is_killed_each_time_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec_that(tmp_path, monkeypatch, "os.kill(os.getpid(), 9)")
    with pytest.raises(DecoderDied, match="killed by SIGKILL, as the system does when memory runs out"):
        Decoders(SCALING, *BOUNDS)(JXL)


def test_a_process_that_is_killed_once_costs_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "mark"
    once = f"mark = pathlib.Path({str(mark)!r})\nif not mark.exists():\n    mark.touch()\n    os.kill(os.getpid(), 9)"
    codec_that(tmp_path, monkeypatch, f"{once}\nraise MemoryError('too large')")
    decoders = Decoders(SCALING, *BOUNDS)
    decoders(picture())
    [decoder] = decoders._free
    os.kill(decoder.process.pid, signal.SIGKILL)  # while it waits
    assert decoders(picture())[:2] == (8, 6)
    with pytest.raises(DecoderDied, match="MemoryError: too large"):
        decoders(JXL)
    assert mark.exists()
    assert len(decoders._free) == 1


@pytest.mark.parametrize(("program", "status"), [("false", 1), ("true", 0)])
def test_processes_that_do_not_start_are_an_error(monkeypatch: pytest.MonkeyPatch, program: str, status: int) -> None:
    monkeypatch.setattr(sys, "executable", f"/bin/{program}")
    with pytest.raises(DecoderDied, match=f"exit status {status}"):
        Decoders(SCALING, *BOUNDS)(picture())


def test_a_program_that_is_not_there_is_an_error_and_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DecoderDied, match=r"could not be started: .*/nowhere/python"):
        Decoders(SCALING, *BOUNDS)(picture())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_module_of_the_working_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\nfrom importlib import *\n")
    monkeypatch.setattr(sys, "path", [*filter(None, sys.path), Path("/a/path/that/is/no/text")])
    monkeypatch.chdir(tmp_path)
    assert Decoders(SCALING, *BOUNDS)(picture())[:2] == (8, 6)
    assert not (tmp_path / "mark").exists()


def test_a_process_that_gets_no_images_ends_and_later_images_start_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders_module, "IDLE_SECONDS", 0.05)
    decoders = Decoders(SCALING, *BOUNDS)
    for _ in range(3):
        assert decoders(picture())[:2] == (8, 6)
        [decoder] = decoders._free
        assert decoder.process.wait(timeout=30) == 0


def test_the_processes_end_with_their_decoders() -> None:
    decoders = Decoders(SCALING, *BOUNDS)
    decoders(picture())
    process = decoders._free[0].process
    del decoders
    assert process.poll() == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_killed_leaves_no_process_and_no_shared_memory(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "image.jpg").write_bytes(images(1)[0])
    before = set(Path("/dev/shm").iterdir())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "image.jpg")]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "decoding\n"
        processes = children(job.pid)
        made = set(Path("/dev/shm").iterdir()) - before
        os.killpg(job.pid, how) if how == signal.SIGINT else job.send_signal(how)  # a terminal's Ctrl-C goes to all
        said = job.communicate(timeout=60)[1]
    assert 1 <= len(processes) <= 2
    await_that(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
    assert not [path for path in made if path.name.startswith(("clipmine", "psm_"))]
    assert said.count("Traceback") == (1 if how == signal.SIGINT else 0)  # of the job alone


def test_processes_load_no_torch() -> None:
    code = "import sys; import index.corpus.decoders; print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == (
        "False False\n"
    )
