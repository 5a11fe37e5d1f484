"""`clipmine evaluate`: figures as JSON, lists of tasks and concepts, and one line for what does not go together."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from customize.clip.evaluate.config import PROTOCOLS
from customize.clip.evaluate.task_files import benchmark_tasks, load_task
from jobs.cli import run
from jobs.commands.evaluate import command
from tests.customize.clip.evaluate.conftest import color_tasks
from tests.customize.lmm.evaluate.conftest import choice_record, write_images, write_lines
from tests.index.corpora import encode, write_tar
from tests.mining.chat.chat_server import Answer, completion, serving

__all__ = ["color_tasks"]


def test_figures_are_printed(
    color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(tiny_clip_dir), "--task", str(color_tasks / "captions.yaml"), "--out", str(tmp_path)]
    assert run([*arguments, "--json", "--device", "cpu"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert set(summary["results"][0]["columns"]) == {f"{way} R@{k}" for way in ("I2T", "T2I") for k in (1, 5, 10)}


@pytest.mark.usefixtures("_without_figures")
def test_a_share_of_the_labels_is_said_to_be_our_draw(
    color_tasks: Path, tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = ["--protocol", "linear-probe", "--seeds", "1", "--lr", "0.01", "--epochs", "1", "--device", "cpu"]
    arguments = ["evaluate", str(tiny_clip_dir), "--task", str(color_tasks / "colors.yaml"), "--out", str(tmp_path)]
    assert run([*arguments, *few, "--share", "0.5"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "- trained on 50% of each class's images (3), drawn here by seed, which is no published list" in out
    (tmp_path / "list.txt").write_text("0.JPEG\n1.JPEG\n2.JPEG\n3.JPEG\n")
    assert run([*arguments, *few, "--train-list", str(tmp_path / "list.txt")]) == 0
    assert "- trained on the 4 images of list.txt" in " ".join(capfd.readouterr().out.split())


@pytest.fixture
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPMINE_NO_FIGURES", "1")  # drawing them takes longer than the runs


@pytest.mark.usefixtures("_without_figures")
def test_crowd_boxes_are_counted(tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    about = {"boxes": [[0, 0, 16, 32], [0, 0, 32, 32]], "box_labels": ["red", "red"], "iscrowd": [0, 1]}
    image = encode(Image.new("RGB", (32, 32), "red"))
    (tmp_path / "test").mkdir()
    write_tar(tmp_path / "test" / "0.tar", [("0.png", image), ("0.json", json.dumps(about).encode())])
    task = {"name": "halves", "kind": "regions", "classes": ["red", "blue"], "templates": ["a {}"], "data": "."}
    (tmp_path / "halves.yaml").write_text(json.dumps(task))
    arguments = ["--task", str(tmp_path / "halves.yaml"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert run(["evaluate", str(tiny_clip_dir), *arguments]) == 0
    assert "- crowd boxes, ignored 1" in " ".join(capfd.readouterr().out.split())


def test_the_list_of_tasks_and_the_concepts_of_a_benchmark(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--list-tasks", "--json"]) == 0
    listed = json.loads(capfd.readouterr().out)
    assert "imagenet-1k" in listed
    assert listed["bison"].startswith("questions: BISON")
    assert run(["evaluate", "--benchmark", "elevater", "--concepts", str(tmp_path / "union.yaml")]) == 0
    assert "clipmine retrieve STORE --concepts" in capfd.readouterr().out
    assert (tmp_path / "union.yaml").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name at least one model and one --task"),
        (["clip", "--task", "dtd", "--weight-decay", "0.1"], "--weight-decay 0.1: needs --lr"),
        (["clip", "--task", "dtd", "--lr", "0.1", "--quick-search"], "--quick-search: with --lr 0.1"),
        (["clip", "--task", "dtd", "--share", "0.1", "--shots", "5"], "--shots and --share contradict each other"),
        (
            ["clip", "--task", "dtd", "--train-list", "list", "--shots", "5"],
            "--shots and --train-list contradict each other",
        ),
        (["clip", "--task", "dtd", "--train-list", "list", "--share", "0.1"], "--train-list list: contradicts --share"),
        (["llava", "--task", "bison", "--window", "224"], "--window would have no effect on tasks that ask a model"),
        (["clip", "--task", "dtd", "--shots", "five"], "--shots five: give a number of images a class, or full"),
        (["clip", "--task", "dtd", "--judge", "m"], "--judge would have no effect on tasks of CLIP models"),
        (
            ["llava", "--task", "bison", "--shots", "5"],
            "--shots would have no effect on tasks that ask a model questions",
        ),
        (
            ["llava", "--task", "bison", "--task", "dtd"],
            "bison: asks models that answer questions; dtd: for CLIP models; run them apart",
        ),
        (["llava", "--task", "bison", "--benchmark", "elevater"], "--benchmark elevater: for CLIP models"),
        (["llava", "--task", "nosuch"], "no task 'nosuch': for models that answer questions, bison, svo, "),
        (["llava", "--task", "nosuch"], "; for CLIP models, caltech-101, "),
        (["llava", "--task", "mine=none.jsonl"], "none.jsonl: does not exist"),
        (["llava", "--task", "bison"], "task bison: where are its questions and images? give --data DIR"),
        (["llava", "--task", "bison", "--timeout", "3"], "--timeout would have no effect without a server's model"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    options: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", *options]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_model_that_answers_is_measured_on_pairs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    records = [choice_record(n, "a dog", "AB"[n], ("a.png", "b.png")) for n in (0, 1)]
    records.append(choice_record(2, "a dog", "A", ("a.png", "none.png")))
    write_lines(tmp_path / "BISON.jsonl", records)
    arguments = ["--task", "bison", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    with serving(lambda number, body: completion("A")) as server:
        assert run(["evaluate", f"openai:tiny@{server.url}", *arguments]) == 0
        out = capfd.readouterr().out
        assert "tiny bison" in out
        assert "accuracy 50.0" in out
        assert "- image missing" in out
        assert "not understood" not in out
        assert "tolerant" not in out
        assert run(["evaluate", "ViT-B-32:openai", *arguments]) == 2
        assert "is a CLIP model, which answers no questions" in capfd.readouterr().err
        assert run(["evaluate", f"openai:tiny@{server.url}", *arguments, "--one-order", "--limit", "1", "--json"]) == 0
    (result,) = json.loads(capfd.readouterr().out)["results"]
    assert (result["kept"], result["asked"], result["score"]["figures"]["accuracy"]["right"]) == (1, 1, 1)


def test_a_model_that_answers_no_question_is_an_error_after_the_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    write_lines(tmp_path / "BISON.jsonl", [choice_record(n, "a dog", "A", ("a.png", "b.png")) for n in (0, 1)])
    arguments = ["--task", "bison", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    too_long = Answer(status=400, body={"error": {"message": "the context is 8 tokens"}})
    with serving(lambda number, body: too_long) as server:
        assert run(["evaluate", f"openai:tiny@{server.url}", *arguments]) == 1
    said = capfd.readouterr()
    assert "- no reply" in said.out
    assert said.err.splitlines()[-1].endswith("no question was answered (400: the context is 8 tokens)")


def test_what_was_not_understood_and_what_was_meant_are_on_the_screen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    write_lines(tmp_path / "mine.jsonl", [choice_record(n, "a dog", "A", ("a.png", "b.png")) for n in range(4)])
    text = "Image 1: <image>\nImage 2: <image>\nWhat differs?"
    asked = [{"image": ["a.png", "b.png"], "text": text, "answer": "the bus", "question_id": n} for n in (0, 1)]
    write_lines(tmp_path / "CaD_QA.jsonl", [*asked, {**asked[0], "answer": "", "question_id": 2}])

    def answer(number: int, body: dict[str, Any]) -> Answer:
        said = {0: "The answer is A.", 1: "The answer is A.", 2: "Both look fine.", 3: "A"}
        return completion("I like it" if body["model"] == "judge" else said.get(number, "a bus"))

    with serving(answer) as server:
        model = f"openai:tiny@{server.url}"
        arguments = ["--out", str(tmp_path / "out"), "--one-order", "--concurrency", "1"]
        assert run(["evaluate", model, "--task", f"own={tmp_path / 'mine.jsonl'}", *arguments]) == 0
        out = " ".join(capfd.readouterr().out.split())
        assert "tiny own accuracy 25.0" in out
        assert "- tolerant of wording 75.0" in out
        assert "- not understood 1 of 4" in out
        arguments += ["--task", f"qa={tmp_path / 'CaD_QA.jsonl'}", "--judge", f"openai:judge@{server.url}"]
        assert run(["evaluate", model, *arguments]) == 0
        out = " ".join(capfd.readouterr().out.split())
    assert "- unrated 2 judge replies not understood, for example no rating in 'I like it'" in out
    assert "- without a right answer, not scored 1" in out
    assert "- with results of earlier calls 1" in out
    with serving(answer) as server:
        task = f"cad-qa={tmp_path / 'CaD_QA.jsonl'}"
        assert run(["evaluate", f"openai:tiny@{server.url}", "--task", task, "--out", str(tmp_path / "out")]) == 0
    assert "left out: an answer of another kind than the task's" in capfd.readouterr().out


def test_a_folder_for_replies_is_a_local_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    write_lines(tmp_path / "BISON.jsonl", [choice_record(0, "a dog", "A", ("a.png", "b.png"))])
    (tmp_path / "file").write_text("x")
    for out, why in (("memory://out", "local"), (str(tmp_path / "file"), "cannot be made (File exists)")):
        with serving(lambda number, body: completion("A")) as server:
            arguments = ["--task", "bison", "--data", str(tmp_path), "--out", out]
            assert run(["evaluate", f"openai:tiny@{server.url}", *arguments]) == 2
            assert not server.bodies
        assert why in capfd.readouterr().err


def recipes() -> list[list[str]]:
    """The words of the thesis's evaluations in docs/react.md, without `clipmine evaluate`."""
    text = (Path(__file__).parents[3] / "docs" / "react.md").read_text()
    part = text[text.index("\n## Evaluation\n") :]
    block = part.split("```\n", 2)[1].replace("\\\n", " ")
    return [
        shlex.split(line, comments=True)[2:] for line in block.splitlines() if line.startswith("clipmine evaluate ")
    ]


def test_the_thesis_has_a_recipe_for_each_of_its_tables() -> None:
    named = {word for words in recipes() for word in words if not word.startswith("-")}
    assert named >= {"imagenet-1k", "elevater", "coco-retrieval", "flickr30k-retrieval", "coco-stuff", "coco-regions"}


@pytest.mark.parametrize("words", recipes(), ids=lambda words: "-".join(words[2:4]).strip("-") + str(len(words)))
def test_each_recipe_is_parsed_and_fits_its_tasks(words: list[str]) -> None:
    import open_clip

    chosen = command.make_context("evaluate", list(words)).params
    base, customized = chosen["models"]
    assert tuple(base.split(":")) in set(open_clip.list_pretrained())
    assert customized == "my-react"
    tasks = [load_task(name) for name in chosen["tasks"]]
    tasks += benchmark_tasks(chosen["benchmark"]) if chosen["benchmark"] else []
    assert tasks
    for task in tasks:
        fitting = [protocol for protocol, kind in PROTOCOLS.items() if kind == task.kind]
        assert set(chosen["protocols"]) <= set(fitting)
