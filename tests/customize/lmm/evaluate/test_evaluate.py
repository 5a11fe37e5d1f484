"""A whole evaluation: questions of a folder, replies of a model, scores, tables, and going on where it stopped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from customize.lmm.evaluate.evaluate import LmmEvaluateConfig, evaluate_lmm
from index.errors import BadInput, OutputExists
from index.outputs import only_writer
from mining.chat.chat import ChatReply, ChatRequest
from tests.customize.lmm.evaluate.conftest import KnownModel, choice_record, write_images, write_lines

SUMMARY = "Commonalities:\n1. Both show a dog.\nDifferences:\n1. Image 1 shows a cat."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_images(folder, [f"{number}.png" for number in range(6)])
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    pairs = [("0.png", "1.png"), ("2.png", "3.png"), ("4.png", "none.png"), ("4.png", "broken.png")]
    write_lines(
        folder / "BISON.jsonl", [choice_record(n, "a dog", "AB"[n % 2], images) for n, images in enumerate(pairs)]
    )
    text = "Image 1: <image>\nImage 2: <image>\n"
    open_question = {"image": ["0.png", "1.png"], "text": f"{text}What differs?", "answer": "the bus", "question_id": 0}
    write_lines(folder / "CaD_QA_eval.jsonl", [open_question])
    write_lines(folder / "CaD_summaries.jsonl", [{**open_question, "text": f"{text}Compare.", "answer": SUMMARY}])
    return folder


def config(data: Path, *tasks: str, **more: bool | int) -> LmmEvaluateConfig:
    return LmmEvaluateConfig(tasks, str(data.parent / "out"), str(data), **more)  # type: ignore[arg-type]


def test_replies_are_scored_in_both_orders_and_failures_counted(data: Path) -> None:
    model = KnownModel(lambda key, request: "A")
    seen: list[tuple[int, int]] = []
    summary = evaluate_lmm([model], config(data, "bison"), on_progress=lambda done, total: seen.append((done, total)))
    (result,) = summary.results
    assert (result.model, result.task, result.kept, result.asked) == ("known", "bison", 0, 8)
    score = result.score
    assert (score.questions, score.answered) == (4, 2)
    assert score.failures == {"image missing": 1, "image unreadable": 1}
    assert score.figures["accuracy"].right == 1
    assert score.figures["right in both orders"].right == 0
    assert score.figures["says A"].value == 1.0
    assert model.asked == ["0", "0 swapped", "1", "1 swapped"]
    assert seen == [(done, 8) for done in range(1, 9)]
    assert [Path(path).name for path in summary.files] == [
        f"lmm_results.{each}" for each in ("txt", "md", "csv", "json")
    ]
    assert re.fullmatch(r"LmmEvaluateSummary\('.*', \S+ bison: accuracy \d.* of \d+\)", repr(summary))
    again = evaluate_lmm([model], config(data, "bison"))
    assert (again.results[0].kept, again.results[0].score) == (4, score)
    assert len(model.asked) == 4


def test_a_model_that_tells_probabilities_is_measured_without_its_liking_for_a_letter(data: Path) -> None:
    """It always says A, but a little less surely where B is right."""

    def answer(key: str, request: ChatRequest) -> ChatReply:
        assert request.answers == ("A", "B")
        right = "AB"[(int(key[0]) + key.endswith("swapped")) % 2]
        return ChatReply("A", "stop", answers={"A": -0.1 - 0.1 * (right == "B"), "B": -2.0})

    score = evaluate_lmm([KnownModel(answer)], config(data, "bison")).results[0].score
    assert (score.figures["accuracy"].right, score.figures["accuracy"].count) == (1, 2)
    assert (score.figures["accuracy, orders averaged"].right, score.figures["accuracy, orders averaged"].count) == (
        2,
        2,
    )


def test_the_swapped_question_shows_the_images_in_the_other_order(data: Path) -> None:
    shown: dict[str, ChatRequest] = {}

    def answer(key: str, request: ChatRequest) -> str:
        shown[key] = request
        return "A"

    evaluate_lmm([KnownModel(answer)], config(data, "bison", limit=1))
    assert shown["0 swapped"].images == shown["0"].images[::-1]
    assert shown["0"].max_new_tokens == 256
    assert shown["0"].temperature == 0.0
    evaluate_lmm([KnownModel(answer, "other")], config(data, "bison", limit=1, swap=False, max_new_tokens=8))
    assert shown["0"].max_new_tokens == 8


def test_a_judge_rates_open_answers_and_both_lists_of_summaries(data: Path) -> None:
    model = KnownModel(lambda key, request: SUMMARY if "Compare" in request.turns[0].text else "a bus")
    ratings = {"0": "4", "0 commonalities": "Rating: 5", "0 differences": "nothing to say"}
    judge = KnownModel(lambda key, request: ratings[key], "judge")
    summary = evaluate_lmm([model], config(data, "cad-qa", "cad-summaries"), judge)
    qa, summaries = (result.score.figures for result in summary.results)
    assert (qa["rating"].value, summaries["commonalities"].value) == (4.0, 5.0)
    assert (summaries["differences"].value, summaries["differences"].ceiling) == (None, 5.0)
    assert {result.judge for result in summary.results} == {"judge"}
    assert judge.asked == ["0", "0 commonalities", "0 differences"]
    evaluate_lmm([model], config(data, "cad-qa"), judge)
    assert len(judge.asked) == 3
    assert evaluate_lmm([model], config(data, "cad-qa")).results[0].score.main == "word F1"


def test_a_reply_that_is_missing_is_not_judged(data: Path) -> None:
    model = KnownModel(lambda key, request: ChatReply("", "failed", error="down"))
    judge = KnownModel(lambda key, request: "5", "judge")
    (result,) = evaluate_lmm([model], config(data, "cad-qa"), judge).results
    assert judge.asked == []
    assert (result.score.answered, result.score.failures) == (0, {"no reply": 1})
    assert result.score.figures["rating"].value is None


def test_a_reply_without_lists_is_rated_as_a_whole(data: Path) -> None:
    judge = KnownModel(lambda key, request: "2", "judge")
    model = KnownModel(lambda key, request: "One is a dog.")
    (result,) = evaluate_lmm([model], config(data, "cad-summaries"), judge).results
    assert judge.asked == ["0 commonalities", "0 differences"]
    assert result.score.figures["differences"].value == 2.0


def test_what_cannot_be_measured_is_one_line(data: Path) -> None:
    model = KnownModel(lambda key, request: "A")
    with pytest.raises(BadInput, match="two models are called known"):
        evaluate_lmm([model, model], config(data, "bison"))
    with pytest.raises(BadInput, match="two tasks are called bison; name one of them otherwise: NAME=FILE"):
        evaluate_lmm([model], config(data, "bison", f"bison={data / 'BISON.jsonl'}"))
    with pytest.raises(BadInput, match="which model"):
        evaluate_lmm([], config(data, "bison"))
    with pytest.raises(BadInput, match="no question file of the task svo"):
        evaluate_lmm([model], config(data, "bison", "svo"))
    assert model.asked == []
    with pytest.raises(BadInput, match="at least one --task"):
        config(data)
    with pytest.raises(BadInput, match="are at least 1"):
        config(data, "bison", limit=0)
    with only_writer(str(data.parent / "out")), pytest.raises(OutputExists, match="another process is writing"):
        evaluate_lmm([model], config(data, "bison"))


def test_a_second_call_keeps_the_results_of_the_first(data: Path) -> None:
    one, two = (KnownModel(lambda key, request: "A", name) for name in ("one", "two"))
    evaluate_lmm([one], config(data, "bison", limit=1))
    assert evaluate_lmm([two], config(data, "bison", "cad-qa")).earlier == 1
    path = data.parent / "out" / "lmm_results.json"
    assert [(row["model"], row["task"]) for row in json.loads(path.read_text())] == [
        ("one", "bison"),
        ("two", "bison"),
        ("two", "cad-qa"),
    ]
    assert evaluate_lmm([one], config(data, "bison")).earlier == 2  # its own row is a new one
    rows = json.loads(path.read_text())
    assert [(row["model"], row["questions"]) for row in rows] == [("two", 4), ("two", 1), ("one", 4)]
    table = path.with_suffix(".txt").read_text()
    assert table.index("two") < table.index("one ")
    path.write_text('[{"model": "x"}]')
    with pytest.raises(BadInput, match="is not a table that evaluate wrote"):
        evaluate_lmm([one], config(data, "bison"))


def test_papers_rows_are_beside_the_benchmarks_own_questions_only(data: Path) -> None:
    (data / "pair_tasks.json").write_text("{}")
    evaluate_lmm([KnownModel(lambda key, request: "A", "one")], config(data, "bison"))
    for suffix in ("md", "txt", "csv"):
        text = (data.parent / "out" / f"lmm_results.{suffix}").read_text()
        assert "bison, drawn scenes" in text
        assert "LLaVA 1.5" not in text


def test_replies_of_a_judge_that_are_not_understood_are_counted(data: Path) -> None:
    judge = KnownModel(lambda key, request: "I like it", "judge")
    (result,) = evaluate_lmm([KnownModel(lambda key, request: "a bus")], config(data, "cad-qa"), judge).results
    assert result.unrated == {"no rating in 'I like it'": 1}
    table = (data.parent / "out" / "lmm_results.txt").read_text()
    assert "known: 1 judge reply not understood, for example no rating in 'I like it'" in table


def test_several_models_make_one_table(data: Path) -> None:
    models = [KnownModel(lambda key, request: "A", "one"), KnownModel(lambda key, request: "B", "two")]
    summary = evaluate_lmm(models, config(data, "bison"))
    found = json.loads((data.parent / "out" / "lmm_results.json").read_text())
    assert [row["model"] for row in found] == [result.model for result in summary.results] == ["one", "two"]
    assert "LLaVA 1.5 7B (CaD-VI table 1)" in (data.parent / "out" / "lmm_results.md").read_text()
