"""The import job: claims its folder, begins anew after a kill, finds a finished import finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from index.errors import BadInput, OutputExists
from index.outputs import only_writer
from jobs import import_job
from jobs.import_job import run_import
from mining.sets.importers import ImportConfig
from tests.folders import file_bytes, file_times
from tests.jobs.running import clipmine_command
from tests.mining.sets.importers.made_files import write_images


@pytest.fixture
def made(tmp_path: Path) -> ImportConfig:
    write_images(tmp_path / "images", ["1.jpg", "2.jpg"])
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A bus."}]
    records = [{"id": str(number), "image": f"{number % 3}.jpg", "conversations": turns} for number in range(9)]
    (tmp_path / "r.json").write_text(json.dumps(records))
    return ImportConfig(
        (str(tmp_path / "r.json"),), "llava", str(tmp_path / "pairs"), images=(str(tmp_path / "images"),)
    )


def again(config: ImportConfig, **changes: object) -> ImportConfig:
    return ImportConfig(**{**config.__dict__, **changes})


def test_a_finished_import_is_found_finished(made: ImportConfig) -> None:
    sets = run_import(made)
    assert [len(each.annotations) for each in sets.with_annotations()] == [3, 3, 3]
    before = file_times(made.out)
    assert len(run_import(made)) == len(sets)
    assert file_times(made.out) == before


def test_a_killed_import_is_begun_anew_and_gives_the_same(made: ImportConfig, tmp_path: Path) -> None:
    command = clipmine_command(
        "import", *made.files, "--format", "llava", "--images", made.images[0], "--out", made.out
    )
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    claim, deadline = Path(made.out) / "import.json", time.monotonic() + 60
    while not claim.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert claim.exists()
    # What a run that was killed later leaves.
    leftover = Path(made.out) / "annotations" / "imported_0000.json"
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_text('{"rows": 1, "hash": "another", "counts": []}')
    run_import(made)
    whole = again(made, out=str(tmp_path / "whole"))
    run_import(whole)
    assert file_bytes(made.out) == file_bytes(whole.out)


def test_another_file_or_setting_needs_another_folder(made: ImportConfig) -> None:
    run_import(made)
    with pytest.raises(OutputExists, match=r"another configuration \(other annotator\)"):
        run_import(again(made, annotator="Ann"))
    Path(made.files[0]).write_text("[]")
    with pytest.raises(OutputExists, match=r"another configuration \(other files\)"):
        run_import(made)


def test_a_mistake_leaves_the_folder_free_for_the_corrected_command(made: ImportConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing could be imported as spot-the-diff"):
        run_import(again(made, format="spot-the-diff"))
    assert not Path(made.out).exists()
    assert len(run_import(made)) == 3


def test_an_unforeseen_error_frees_the_folder_and_an_interrupt_keeps_it(
    made: ImportConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, left in ((MemoryError, []), (KeyboardInterrupt, ["import.json"])):
        with monkeypatch.context() as patched:
            patched.setattr(import_job, "import_sets", lambda *_, error=error: (_ for _ in ()).throw(error))
            with pytest.raises(error):
                run_import(made)
        assert [path.name for path in Path(made.out).glob("*")] == left
    assert len(run_import(made)) == 3


def test_a_second_import_into_the_folder_waits_its_turn(made: ImportConfig) -> None:
    with only_writer(made.out), pytest.raises(OutputExists, match="another process is writing there"):
        run_import(made)
    assert len(run_import(made)) == 3
    assert not list(Path(made.out).glob(".*"))


def test_strict_is_an_error_after_the_sets_are_written(made: ImportConfig) -> None:
    with pytest.raises(BadInput, match=r"--strict: 1 images missing \(what could be imported is in "):
        run_import(again(made, strict=True))
    assert len(run_import(made)) == 3
