"""The evaluate job and its command on a small task of tars: tables, resuming, one line for what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from jobs.cli import run
from jobs.evaluate_job import EvaluateConfig, run_evaluate
from tests.index.corpora import encode, write_tar

COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task file with its tars: six pictures a split, with captions."""
    folder = tmp_path_factory.mktemp("task")
    for split in ("train", "test"):
        (folder / "images" / split).mkdir(parents=True)
        members = []
        for number in range(6):
            color = COLORS[number % 3]
            members += [
                (f"{number}.jpg", encode(Image.new("RGB", (32, 32), color), "JPEG")),
                (f"{number}.cls", color.encode()),
                (f"{number}.txt", f"a {color} picture".encode()),
            ]
        write_tar(folder / "images" / split / "0.tar", members)
    about = "name: colors\ndata: images\nsplits: {train: train, test: test}\ntemplates: ['a {}']\n"
    (folder / "colors.yaml").write_text(about + "classes: [red, green, blue]\n")
    (folder / "captions.yaml").write_text("name: said\nkind: retrieval\ndata: images\nsplits: {test: test}\n")
    return folder


def test_runs_become_tables_and_are_not_measured_twice(task: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(
        models=(("tiny", ModelSpec(model_dir=str(tiny_clip_dir))),),
        tasks=(str(task / "colors.yaml"),),
        out=str(tmp_path),
        protocols=("zeroshot", "linear-probe"),
        shots=(1, None),
        seeds=(0, 1),
        epochs=2,
        settings=(0.01, 0.0),
        device="cpu",
    )
    first = run_evaluate(config)
    assert (first.runs, first.reused) == (1 + 2 * 2, 0)
    again = run_evaluate(config)
    assert (again.runs, again.reused) == (5, 5)
    assert [result["score"] for result in again.results] == [result["score"] for result in first.results]
    text = (tmp_path / "results.md").read_text()
    assert "## zeroshot" in text
    assert "## linear-probe 1-shot" in text
    assert "## linear-probe full" in text
    # A killed run's half line is measured again.
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    (tmp_path / "runs.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    assert run_evaluate(config).reused == 4


def test_the_command_prints_figures(
    task: Path, tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(tiny_clip_dir), "--task", str(task / "captions.yaml"), "--out", str(tmp_path)]
    assert run([*arguments, "--json", "--device", "cpu"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert set(summary["results"][0]["columns"]) == {f"{way} R@{k}" for way in ("I2T", "T2I") for k in (1, 5, 10)}


def test_a_protocol_of_another_kind_is_refused_before_any_work(task: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(
        models=(("tiny", ModelSpec(model_dir=str(tiny_clip_dir))),),
        tasks=(str(task / "captions.yaml"),),
        out=str(tmp_path / "out"),
        protocols=("zeroshot",),
    )
    with pytest.raises(BadInput, match="task said is about retrieval, which zeroshot does not measure; use retrieval"):
        run_evaluate(config)
    assert not (tmp_path / "out").exists()


def test_the_list_of_tasks_and_the_concepts_of_a_benchmark(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--list-tasks", "--json"]) == 0
    assert "imagenet-1k" in json.loads(capfd.readouterr().out)
    assert run(["evaluate", "--benchmark", "elevater", "--concepts", str(tmp_path / "union.yaml")]) == 0
    assert "clipmine retrieve STORE --concepts" in capfd.readouterr().out
    assert (tmp_path / "union.yaml").stat().st_size > 10_000


def test_nothing_to_evaluate_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate"]) == 2
    assert "evaluate what? name at least one model and one --task" in capfd.readouterr().err
