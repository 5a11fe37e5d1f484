"""Which model a name says, and an evaluation against a real local server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from customize.lmm.evaluate.evaluate import LmmEvaluateConfig, evaluate_lmm
from index.errors import BadInput, ClipmineError
from jobs.evaluate_lmm_job import ModelSettings, open_model, run_evaluate_lmm
from mining.chat.asking import Limits
from mining.chat.openai_server import OpenAIServer
from scenes.held_out.pair_tasks import write_pair_tasks
from tests.customize.lmm.model.checkpoints import write_llava
from tests.mining.chat.chat_server import completion, serving


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair-tasks")
    write_pair_tasks(folder, 3)
    return folder


def test_a_servers_model_is_asked_and_kept(data: Path, tmp_path: Path) -> None:
    config = LmmEvaluateConfig(("bison", "svo", "nlvr2", "eqben", "cola"), str(tmp_path / "out"), str(data))
    with serving(lambda number, body: completion("A")) as server:
        summary = run_evaluate_lmm([f"openai:tiny@{server.url}"], config)
        asked = len(server.bodies)
        again = run_evaluate_lmm({"renamed": f"openai:tiny@{server.url}"}, config)
        assert len(server.bodies) == asked
    assert {result.model for result in summary.results} == {"tiny"}
    assert {result.model for result in again.results} == {"renamed"}
    scores = {result.task: result.score for result in summary.results}
    assert [scores[name].questions for name in ("bison", "svo", "nlvr2", "eqben", "cola")] == [3, 3, 3, 6, 6]
    assert all(not score.failures for score in scores.values())
    assert scores["eqben"].figures["both right"].right == 0
    assert scores["bison"].figures["says A"].value == 1.0
    assert scores["nlvr2"].not_understood == 3
    assert sum(result.asked for result in summary.results) == asked == 3 * 2 + 3 * 2 + 3 + 6 * 2 + 6 * 2
    shown = server.bodies[0]["messages"][-1]["content"]
    assert [part["type"] for part in shown] == ["text", "image_url", "text", "image_url", "text"]
    assert server.bodies[0]["temperature"] == 0


def test_a_checkpoint_that_runs_here_is_asked(data: Path, tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "llava")
    config = LmmEvaluateConfig(("bison",), str(tmp_path / "out"), str(data), limit=2, max_new_tokens=3)
    settings = ModelSettings(device="cpu", precision="fp32", batch_size=2)
    (first,) = run_evaluate_lmm([str(folder)], config, settings=settings).results
    assert (first.model, first.asked, first.score.answered) == (str(folder), 4, 2)
    (again,) = run_evaluate_lmm({"tiny": str(folder)}, config, settings=settings).results
    assert (again.model, again.kept, again.score) == ("tiny", 4, first.score)


def test_a_judge_is_named_like_a_model(data: Path, tmp_path: Path) -> None:
    config = LmmEvaluateConfig(("cad-qa", "cad-summaries"), str(tmp_path / "out"), str(data))
    with serving(lambda number, body: completion("4" if body["model"] == "judge" else "A red bus.")) as server:
        name = f"openai:tiny@{server.url}"
        summary = run_evaluate_lmm([name], config, f"openai:judge@{server.url}", ModelSettings(concurrency=2))
    qa, summaries = (result.score.figures for result in summary.results)
    assert (qa["rating"].value, summaries["differences"].value) == (4.0, 4.0)
    found = json.loads((tmp_path / "out" / "lmm_results.json").read_text())
    assert [row["judge"] for row in found] == ["judge", "judge"]


def test_a_server_that_is_down_ends_the_run_in_one_line(data: Path, tmp_path: Path) -> None:
    with serving(lambda number, body: completion("A")) as server:
        url = server.url
    config = LmmEvaluateConfig(("bison",), str(tmp_path / "out"), str(data))

    model = OpenAIServer(url, "tiny", limits=Limits(retries=0, patience=0.1, first_wait=0.01))
    with pytest.raises(ClipmineError, match=r"127\.0\.0\.1"):
        evaluate_lmm([model], config)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-32:openai", "ViT-B-32:openai: is a CLIP model, which answers no questions"),
        ("openai:llava", "a model of a server is written openai:MODEL@URL"),
        ("openai:llava@user:secret@host", r"openai:MODEL@URL"),
    ],
)
def test_what_names_no_model_is_one_line(name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        open_model(name)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(BadInput) as raised:
        open_model("openai:@http://user:secret@host/v1")
    assert "secret" not in str(raised.value)


def test_folders_of_clip_models_are_refused(tiny_clip_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a CLIP model"):
        open_model(str(tiny_clip_dir))
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(BadInput, match="is a CLIP model"):
        open_model(str(tmp_path))
