"""An evaluation writes tables and resumes: finished runs are read, and a changed choice is measured anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from customize.clip.evaluate.config import EvaluateConfig
from customize.clip.evaluate.evaluate import evaluate
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, MissingDependency
from tests.index.corpora import write_tar


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


def test_the_tables_have_every_run_of_the_folder(color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    asked = config(color_tasks / "colors.yaml", tiny_clip_dir, tmp_path)
    asked = dataclasses.replace(asked, shots=(1,))
    evaluate(dataclasses.replace(asked, protocols=("zeroshot",)))
    evaluate(dataclasses.replace(asked, protocols=("linear-probe",)))
    other = dataclasses.replace(asked, models=(("other", asked.models[0][1]),), protocols=("linear-probe",), seeds=(0,))
    found = evaluate(dataclasses.replace(other, lr=0.5))
    assert (found.runs, found.reused) == (1, 0)
    text = (tmp_path / "results.md").read_text()
    assert "## zeroshot" in text
    probe = text[text.index("## linear-probe 1-shot") :]
    assert "| tiny |" in probe
    assert "| other |" in probe
    # A cell has runs of one way: with another learning rate the two earlier seeds are no longer those of `tiny`.
    evaluate(dataclasses.replace(asked, protocols=("linear-probe",), seeds=(0,), lr=0.5))
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[1] for line in lines if ",tiny," in line or line.startswith("tiny,")] == ["1", "1"], (
        lines
    )


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


def test_a_protocol_of_another_kind_is_refused_before_any_work(
    color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    asked = config(color_tasks / "captions.yaml", tiny_clip_dir, tmp_path / "out")
    with pytest.raises(BadInput, match="task said is about retrieval, which zeroshot does not measure; use retrieval"):
        evaluate(asked)
    assert not (tmp_path / "out").exists()


def test_options_without_effect_are_refused_before_any_work(
    color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    asked = dataclasses.replace(
        config(color_tasks / "colors.yaml", tiny_clip_dir, tmp_path / "out"), protocols=("zeroshot",)
    )
    for choices, said in (
        ({"resolution": 512}, "--resolution 512: only tasks of segmentation and regions have one"),
        ({"window": 224}, "--window 224: only tasks of segmentation use windows"),
        ({"train_list": "1percent.txt"}, "--train-list 1percent.txt: only --protocol linear-probe and finetune"),
    ):
        with pytest.raises(BadInput, match=said):
            evaluate(dataclasses.replace(asked, **choices))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "protocol"), [("colors", "zeroshot"), ("colors", "linear-probe"), ("colors", "finetune"), ("said", None)]
)
def test_an_empty_split_is_one_line(name: str, protocol: str | None, tiny_clip_dir: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        write_tar(tmp_path / split / "0.tar", [])
    kind = "kind: retrieval" if protocol is None else "classes: [red, blue]"
    (tmp_path / "task.yaml").write_text(f"name: {name}\n{kind}\ndata: .\nsplits: {{train: train, test: test}}\n")
    asked = config(tmp_path / "task.yaml", tiny_clip_dir, tmp_path / "out")
    with pytest.raises(BadInput, match=r"(train|test): has no images; check the folder and the split"):
        evaluate(dataclasses.replace(asked, protocols=() if protocol is None else (protocol,)))


def test_an_error_of_a_missing_package_comes_before_the_model_is_loaded(
    color_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (color_tasks / "colors.yaml").read_text() + "metric: mean-per-class\n"
    (tmp_path / "colors.yaml").write_text(text)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    asked = config(tmp_path / "colors.yaml", tmp_path / "no-such-model", tmp_path / "out")
    with pytest.raises(MissingDependency, match=r"mean-per-class needs scikit-learn"):
        evaluate(asked)
