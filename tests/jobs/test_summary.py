"""Summaries: aligned lines or JSON, and nothing else on standard output."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jobs.summary import only_summary_on_stdout, plain, print_summary


@dataclass(frozen=True)
class Inner:
    values: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    rows: int
    inner: Inner
    where: Path


REPORT = Report(3, Inner((1, 2)), Path("store"))


def test_labels_are_aligned_and_numbers_end_in_one_column(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [("rows", 1_234_567), ("- broken", 8), ("model", "ViT-B-32")]
    print_summary(REPORT, lines, as_json=False, next_step="clipmine index store")
    assert capsys.readouterr().out.splitlines() == [
        "rows      1,234,567",
        "- broken          8",
        "model     ViT-B-32",
        "next: clipmine index store",
    ]


def test_json_holds_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(REPORT, [("rows", 3)], as_json=True, next_step="clipmine index store")
    assert json.loads(capsys.readouterr().out) == {"rows": 3, "inner": {"values": [1, 2]}, "where": "store"}


def test_numpy_numbers_and_keys_become_plain() -> None:
    assert plain({1: np.int64(2), "a": np.float32(0.5), "b": [np.bool_(True), None]}) == {
        "1": 2,
        "a": 0.5,
        "b": [True, None],
    }


@dataclass
class _Written:
    store: str
    folder: Path
    caption: str


def test_remote_stores_are_named_by_their_urls(capsys: pytest.CaptureFixture[str]) -> None:
    summary = _Written("/s3:/bucket/store", Path("/s3:/bucket/other"), "see /s3:/bucket")
    assert plain(summary) == {"store": "s3://bucket/store", "folder": "s3://bucket/other", "caption": "see /s3:/bucket"}
    print_summary(summary, [("store", summary.store)], as_json=False, next_step="clipmine index /s3:/bucket/store")
    assert capsys.readouterr().out == "store  s3://bucket/store\nnext: clipmine index s3://bucket/store\n"


def test_what_libraries_and_child_processes_print_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with only_summary_on_stdout():
        print("from Python")
        os.write(1, b"from C\n")
        subprocess.run(["echo", "from a child"], check=True)
    print("the summary")
    said = capfd.readouterr()
    assert said.out == "the summary\n"
    assert {"from Python", "from C", "from a child"} <= set(said.err.splitlines())


def test_stdout_is_given_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), only_summary_on_stdout():
        raise ValueError("broken")
    print("back")
    assert capfd.readouterr().out == "back\n"
