"""What a person gets wrong: one line that says what, where and what to do; exit 2, or 1 for a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from index.store.embedding_store import EmbeddingStore
from jobs.cli import COMMANDS, run
from tests.conftest import write_tiny_clip

Fails = Callable[..., tuple[str, int]]


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that must fail; returns its one line and its exit status."""

    def failing(*arguments: object) -> tuple[str, int]:
        status = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        errors = [line for line in captured.err.splitlines() if line.startswith("clipmine: ")]
        assert len(errors) == 1
        assert captured.err.rstrip().endswith(errors[0])
        assert captured.out == ""
        return errors[0], status

    return failing


@pytest.fixture
def concepts(tmp_path: Path) -> Path:
    path = tmp_path / "concepts.txt"
    path.write_text("red circle\nblue square\n")
    return path


def test_bad_usage_is_one_line_that_points_to_the_help(fails: Fails) -> None:
    listed = ", ".join(COMMANDS)
    assert fails("embedd") == (
        f"clipmine: error: there is no command 'embedd'; the commands are {listed}; see clipmine --help",
        2,
    )
    assert fails("plan", "--memory", "1GB") == (
        "clipmine: error: Missing option '--rows'; see clipmine plan --help",
        2,
    )
    line, status = fails("index", "store", "--executor", "slurm")
    assert (line, status) == (
        "clipmine: error: Invalid value for '--executor': 'slurm' is not one of 'local', 'ray', 'spark'; "
        "see clipmine index --help",
        2,
    )


def test_an_empty_corpus(fails: Fails, tmp_path: Path, tiny_clip_dir: Path) -> None:
    (tmp_path / "empty").mkdir()
    line, status = fails("embed", tmp_path / "empty", "--out", tmp_path / "store", "--model-dir", tiny_clip_dir)
    assert str(tmp_path / "empty") in line
    assert status == 2
    assert not (tmp_path / "store/manifest.json").exists()


def test_a_corpus_that_is_not_there(fails: Fails, tmp_path: Path, tiny_clip_dir: Path) -> None:
    line, status = fails("embed", tmp_path / "nowhere", "--out", tmp_path / "store", "--model-dir", tiny_clip_dir)
    assert (line, status) == (f"clipmine: error: {tmp_path / 'nowhere'}: not found", 2)


def test_no_model_named(fails: Fails, small_corpus: Path, tmp_path: Path) -> None:
    line, status = fails("embed", small_corpus, "--out", tmp_path / "store")
    assert "which model?" in line
    assert status == 2


def test_an_unknown_model_lists_close_ones(fails: Fails, small_corpus: Path, tmp_path: Path) -> None:
    line, status = fails("embed", small_corpus, "--out", tmp_path / "store", "--model", "ViT-B-33", "--pretrained", "x")
    assert "unknown model 'ViT-B-33'" in line
    assert "ViT-B-32" in line
    assert status == 2


def test_an_unknown_tag_lists_the_valid_ones(fails: Fails, small_corpus: Path, tmp_path: Path) -> None:
    line, status = fails(
        "embed", small_corpus, "--out", tmp_path / "store", "--model", "ViT-B-32", "--pretrained", "opnai"
    )
    assert "laion2b_s34b_b79k" in line
    assert status == 2


def test_an_output_that_holds_something_else(
    fails: Fails, small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/letter.txt").write_text("dear")
    line, status = fails("embed", small_corpus, "--out", tmp_path / "taken", "--model-dir", tiny_clip_dir)
    assert f"{tmp_path / 'taken'}: is not empty" in line
    assert status == 2
    assert [entry.name for entry in (tmp_path / "taken").iterdir()] == ["letter.txt"]


def test_a_store_of_another_configuration(
    fails: Fails, small_store: EmbeddingStore, small_corpus: Path, tiny_clip_dir: Path
) -> None:
    line, status = fails(
        "embed", small_corpus, "--out", small_store.path, "--model-dir", tiny_clip_dir, "--batch-size", "4"
    )
    assert "was begun with batch_size 8, not 4" in line
    assert status == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": no concept in it; write one name a line"),
        ("dog\ncat\nDog\n", ", line 3: 'Dog' is there already (line 1); give each concept once, by its own name"),
        ("dog\n   \ncat\n", ", line 2: "),
    ],
    ids=["empty", "duplicate", "spaces"],
)
def test_a_bad_concept_list(
    fails: Fails, small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    arguments = ["retrieve", small_store.path, "--concepts", path, "--out", tmp_path / "s", "-k", "3"]
    line, status = fails(*arguments, "--model-dir", tiny_clip_dir)
    assert f"{path}{said}" in line
    assert status == 2
    assert not (tmp_path / "s/manifest.json").exists()


def test_an_unknown_template_set_lists_the_valid_ones(
    fails: Fails, small_store: EmbeddingStore, concepts: Path, tmp_path: Path
) -> None:
    line, status = fails(
        "retrieve", small_store.path, "--concepts", concepts, "--out", tmp_path / "s", "--templates", "imagenet"
    )
    assert "openai_imagenet" in line
    assert status == 2


def test_k_larger_than_the_store(fails: Fails, small_store: EmbeddingStore, concepts: Path, tmp_path: Path) -> None:
    line, status = fails("retrieve", small_store.path, "--concepts", concepts, "--out", tmp_path / "s", "-k", "34")
    assert "k 34: larger than the store, which has 33 rows" in line
    assert status == 2


def test_another_model_than_the_stores(
    fails: Fails, small_store: EmbeddingStore, concepts: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    other = write_tiny_clip(tmp_path / "model", seed=1)
    arguments = ["retrieve", small_store.path, "--concepts", concepts, "--out", tmp_path / "s", "-k", "3"]
    line, status = fails(*arguments, "--model-dir", other)
    assert "was made with" in line
    assert status == 2


def test_a_missing_part(fails: Fails, small_store: EmbeddingStore, concepts: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(small_store.path, store)
    (store / "img_emb/img_emb_0001.npy").unlink()
    line, status = fails("index", store)
    assert "0001" in line
    assert status == 2
    line, status = fails("retrieve", store, "--concepts", concepts, "--out", tmp_path / "s", "-k", "3")
    assert "0001" in line
    assert status == 2


def test_a_store_that_is_none(fails: Fails, tmp_path: Path) -> None:
    assert fails("index", tmp_path / "nothing") == (
        f"clipmine: error: {tmp_path / 'nothing'}: there is no such store",
        2,
    )


def test_a_full_disk(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    """On a real file system of 24 kB, mounted where only the command sees it."""
    out = tmp_path / "store"
    out.mkdir()
    embed: list[str | Path] = [sys.executable, "-m", "jobs.cli", "embed", small_corpus]
    embed += ["--out", out, "--model-dir", tiny_clip_dir]
    script = 'out=$1; shift; mount -t tmpfs -o size=24k none "$out"; "$@"; status=$?; find "$out" -type f >&2'
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*apart, "sh", "-c", f"{script}; exit $status", "sh", out, *embed], capture_output=True, text=True, check=False
    )
    *_, line = [line for line in done.stderr.splitlines() if line.startswith("clipmine: ")]
    assert "no space left on the disk" in line
    assert done.returncode == 1
    left = done.stderr.split(line)[1].split()
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


def heed_ctrl_c() -> None:
    """In a child: a shell's background job ignores Ctrl-C, and so would all that the tests start from there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_says_how_to_go_on(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    command = [sys.executable, "-m", "jobs.cli", "embed", str(small_corpus), "--out", str(out), "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--model-dir", str(tiny_clip_dir)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
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


def test_a_summary_adds_up_and_says_what_comes_next(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["embed", small_corpus, "--out", tmp_path / "store", "--model-dir", tiny_clip_dir]
    assert run([str(argument) for argument in arguments]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["samples", "read", "33"]
    assert lines[1].split() == ["rows", "in", "the", "store", "33"]
    assert lines[-1] == f"next: clipmine index {tmp_path / 'store'}"
