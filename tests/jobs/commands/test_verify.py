"""`clipmine verify`: its summary, what it names, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.cli import run
from tests.jobs.running import Fails, Run, counts


def test_a_whole_store_is_counted(store: Path, clipmine: Run) -> None:
    lines = clipmine("verify", store)
    assert counts(lines) == {"files read": 8, "files that differ": 0}


def test_a_changed_file_is_named_and_the_status_tells_a_script(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = store / "img_emb/img_emb_0001.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert run(["verify", str(store)]) == 1
    said = capfd.readouterr()
    assert "img_emb/img_emb_0001.npy (part 0001): has changed: its SHA-256 is another" in said.out
    assert "to do: restore the file" in said.out
    assert said.err.splitlines()[-1] == (
        f"clipmine: 1 file is not what was written into {store} (the first is img_emb/img_emb_0001.npy)"
    )
    assert run(["verify", str(store), "--json"]) == 1
    [problem] = json.loads(capfd.readouterr().out)["problems"]
    assert (problem["file"], problem["part"]) == ("img_emb/img_emb_0001.npy", "0001")


def test_what_is_no_store(tmp_path: Path, fails: Fails) -> None:
    assert fails("verify", tmp_path / "none") == (f"clipmine: error: {tmp_path / 'none'}: there is no such store", 2)
