"""An evaluation writes tables and resumes: finished runs are read, and a changed choice is measured anew."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from customize.clip.evaluate.config import EvaluateConfig
from customize.clip.evaluate.evaluate import evaluate
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput


def config(task: Path, model_dir: Path, out: Path) -> EvaluateConfig:
    return EvaluateConfig(
        models=(("tiny", ModelSpec(model_dir=str(model_dir))),),
        tasks=(str(task),),
        out=str(out),
        protocols=("zeroshot", "linear-probe"),
        shots=(1, None),
        seeds=(0, 1),
        epochs=2,
        lr=0.01,
        device="cpu",
    )


def test_runs_become_tables_and_are_not_measured_twice(color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    asked = config(color_tasks / "colors.yaml", tiny_clip_dir, tmp_path)
    seen: list[tuple[int, int]] = []
    first = evaluate(asked, lambda done, total: seen.append((done, total)))
    assert (first.runs, first.reused) == (1 + 2 * 2, 0)
    assert seen == [(done, 5) for done in range(1, 6)]
    again = evaluate(asked)
    assert (again.runs, again.reused) == (5, 5)
    assert again.results == first.results
    text = (tmp_path / "results.md").read_text()
    for title in ("## zeroshot", "## linear-probe 1-shot", "## linear-probe full"):
        assert title in text
    # The last line of a killed evaluation is cut off; that run is measured again.
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    (tmp_path / "runs.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    assert evaluate(asked).reused == 4


def test_a_changed_choice_is_measured_anew(color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    asked = dataclasses.replace(
        config(color_tasks / "colors.yaml", tiny_clip_dir, tmp_path),
        protocols=("linear-probe",),
        shots=(1,),
        seeds=(0,),
    )
    assert evaluate(asked).reused == 0
    assert evaluate(dataclasses.replace(asked, weight_decay=0.0)).reused == 1  # the default, said aloud
    assert evaluate(dataclasses.replace(asked, weight_decay=0.5)).reused == 0
    (line, *_) = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["how"][4] == [0.01, 0.0]  # as written by earlier versions


def test_a_protocol_of_another_kind_is_refused_before_any_work(
    color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    asked = config(color_tasks / "captions.yaml", tiny_clip_dir, tmp_path / "out")
    with pytest.raises(BadInput, match="task said is about retrieval, which zeroshot does not measure; use retrieval"):
        evaluate(asked)
    assert not (tmp_path / "out").exists()
