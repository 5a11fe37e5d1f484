"""`clipmine annotate`: counts that add up, what to do next, and what cannot be annotated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import run
from mining.sets.image_sets import ImageSets
from tests.jobs.comparing_server import MODEL, comparing_server, free_port
from tests.jobs.running import Fails, Run, counts
from tests.mining.chat.chat_server import Answer, completion, serving
from tests.mining.made_sets import write_foreign_sets


@pytest.fixture
def pairs(tmp_path: Path) -> ImageSets:
    return write_foreign_sets(tmp_path, [[f"{number}.jpg", f"{number + 1}.jpg"] for number in range(12)])


def test_it_says_what_became_of_every_set_and_what_it_cost(pairs: ImageSets, tmp_path: Path, clipmine: Run) -> None:
    (tmp_path / "photos" / "5.jpg").unlink()
    with comparing_server(tmp_path / "log.jsonl") as server:
        asked: list[object] = [
            "annotate",
            pairs.path,
            "--annotator",
            "openai",
            "--model",
            MODEL,
            "--base-url",
            server.url,
        ]
        asked += ["--from-images", "--with-captions", "--max-requests", 7, "--price-in", 1, "--price-out", 2]
        lines = clipmine(*asked)
        found = counts(lines)
        assert found["sets"] == 12 == sum(count for label, count in found.items() if label.startswith("- "))
        assert (found["- annotated"], found["- image: missing"], found["- left (--max-requests 7)"]) == (7, 2, 3)
        assert (found["requests"], found["answers from the cache"], found["asked again"]) == (7, 0, 0)
        assert any(line.startswith("cost ") and line.endswith(" with earlier runs") for line in lines)
        assert lines[-1] == "next: the same command, with a greater limit"
        asked[asked.index("--max-requests") + 1] = 100
        said = json.loads(clipmine(*asked, "--json")[0])
    assert (said["name"], said["annotated"], said["earlier"], said["requests"]) == (
        "comparison-images-captions-words-1",
        10,
        7,
        3,
    )
    assert said["total_requests"] == 10
    assert said["total_cost"] > said["cost"] > 0
    assert said["image_missing"] == 2


def test_captions_are_the_annotator_without_a_model(pairs: ImageSets, clipmine: Run) -> None:
    lines = clipmine("annotate", pairs.path, "--kind", "choice", "--name", "first")
    found = counts(lines)
    assert (found["sets"], found["- annotated"], found["annotations"]) == (12, 12, 12)
    assert "requests" not in found
    assert lines[-1] == f"next: clipmine tune --stage cad --data {pairs.path},kind=choice ..."
    assert ImageSets.open(pairs.path).annotations.counts() == {("choice", "captions"): 12}


def test_answers_none_of_which_is_understood_are_an_error_and_shown_with_what_to_try(
    pairs: ImageSets, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda number, body: completion("What a nice photo.")) as server:
        asked = ["--annotator", "openai", "--model", "m", "--base-url", server.url, "--limit", "3"]
        assert run(["annotate", pairs.path, *asked]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].endswith(f"error: {pairs.path}: no answer about any of 3 sets was understood")
    lines = said.out.splitlines()
    found = counts(lines)
    labels = [line.rpartition("  ")[0].strip() for line in lines]
    assert labels.index("- annotated") < labels.index("- rejected")
    assert (found["- annotated"], found["- rejected"], found["rejected answers, kept too"]) == (0, 3, 3)
    assert any(line.endswith("'What a nice photo.'") for line in lines)
    assert any(line.endswith("comparison-m.run/journal.jsonl") for line in lines)
    for advice in ("clipmine tune", "--from-images", "--max-new-tokens"):
        assert advice in lines[-1]


def test_a_server_that_is_down_is_one_line(pairs: ImageSets, fails: Fails) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    server = ["--annotator", "openai", "--model", "m", "--base-url", url, "--patience", 0.1]
    line, status = fails("annotate", pairs.path, *server)
    assert url in line
    assert status == 1


def test_a_server_that_answers_nothing_about_any_set_is_an_error_after_the_counts(
    pairs: ImageSets, capsys: pytest.CaptureFixture[str]
) -> None:
    too_long = Answer(status=400, body={"error": {"message": "the context is 8 tokens"}})
    with serving(lambda number, body: too_long) as server:
        asked = ["--annotator", "openai", "--model", "m", "--base-url", server.url, "--limit", "3"]
        assert run(["annotate", pairs.path, *asked]) == 1
    said = capsys.readouterr()
    assert counts(said.out.splitlines())["- failed: 400: the context is 8 tokens"] == 3
    assert said.err.splitlines()[-1].endswith(
        f"error: {pairs.path}: no answer about any of 3 sets that were asked about (400: the context is 8 tokens)"
    )


def test_sets_none_of_whose_images_is_there_are_an_error_after_the_counts(
    pairs: ImageSets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with serving(lambda number, body: Answer(status=500)) as server:
        asked = ["--annotator", "openai", "--model", "m", "--base-url", server.url, "--from-images"]
        assert run(["annotate", pairs.path, *asked, "--images", str(tmp_path / "elsewhere")]) == 2
    said = capsys.readouterr()
    assert counts(said.out.splitlines())["- image: missing"] == 12
    assert "no image of its sets can be read (missing); name their folder with --images DIR" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--kind cad-qa", "--kind cad-qa asks a model: it needs --annotator openai or transformers"),
        ("--annotator vllm", "'vllm' is not one of"),
        ("--kind story", "'story' is not one of"),
        ("--annotator openai", "--annotator openai needs --model NAME"),
        ("--annotator openai --model m", "needs --base-url URL, such as http://host:8000/v1"),
        ("--model m", "it takes no model and no images"),
        ("--device cpu", "--device: of --annotator transformers, not of captions"),
        ("--name a/b", "--name 'a/b': letters, digits"),
        ("--shard 3", "--shard 3: a place and a number of machines, as 2/8"),
        ("--max-cost 1", "--max-cost needs --price-in and --price-out"),
        ("--images a --images b", "with several sources, write SOURCE=DIR for each"),
        ("--not-annotated comparison --split test", "has no sets of split 'test'; it has none"),
        ("--executor ray", "--executor ray runs checkpoints"),
    ],
)
def test_what_cannot_be_asked_is_an_error_of_one_line(
    pairs: ImageSets, fails: Fails, arguments: str, message: str
) -> None:
    line, status = fails("annotate", pairs.path, *arguments.split())
    assert message in line
    assert status == 2


def test_a_folder_that_is_none_is_an_error(tmp_path: Path, fails: Fails) -> None:
    line, status = fails("annotate", tmp_path / "nowhere")
    assert "nowhere" in line
    assert status == 2


def test_its_help_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'pyarrow', 'numpy', 'openai', 'ray', 'httpx'}"
    program = (
        "import sys; from jobs.cli import run; run(['annotate', '--help']); "
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--max-cost" in done.stdout
    assert done.stderr.strip() == "[]"
