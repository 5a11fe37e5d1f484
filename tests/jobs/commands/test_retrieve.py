"""`clipmine retrieve`: a selection whose counts add up, from a store or a service; bad input is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.encoder.model_spec import ModelSpec
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.cli import run
from retrieval.selection import Selection
from retrieval.service.settings import Settings
from tests.conftest import write_tiny_clip
from tests.jobs.running import Fails, Run, counts
from tests.serving import serving


def test_hits_are_selected_or_counted_by_rule(
    store: Path, concepts: Path, tiny_clip_dir: Path, tmp_path: Path, clipmine: Run
) -> None:
    chosen = ["--concepts", concepts, "-k", 5, "--model-dir", tiny_clip_dir, "--per-concept", 4]
    lines = clipmine("retrieve", store, *chosen, "--out", tmp_path / "selection")
    found = counts(lines)
    lost = sum(count for label, count in found.items() if label.startswith("- "))
    assert found["hits"] == lost + found["rows selected"]
    assert 0 < found["rows selected"] == Selection.open(tmp_path / "selection").rows <= 8
    assert lines[-1] == f"next: clipmine export {tmp_path / 'selection'} --out DIR"


def test_workers_write_the_selection_of_one_process(
    store: Path, concepts: Path, tiny_clip_dir: Path, tmp_path: Path, clipmine: Run
) -> None:
    chosen = ["--concepts", concepts, "-k", 5, "--model-dir", tiny_clip_dir, "--per-concept", 4]
    alone = clipmine("retrieve", store, *chosen, "--out", tmp_path / "alone")
    shared = clipmine("retrieve", store, *chosen, "--out", tmp_path / "shared", "--workers", 1)
    assert counts(shared) == counts(alone)
    assert Selection.open(tmp_path / "shared").table().equals(Selection.open(tmp_path / "alone").table())


def test_nothing_selected_is_said_and_is_not_exit_0(
    store: Path, concepts: Path, tiny_clip_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--concepts", concepts, "-k", 5, "--model-dir", tiny_clip_dir, "--min-score", 0.99999]
    for _ in range(2):  # also where the finished selection is found
        status = run([str(word) for word in ("retrieve", store, *asked, "--out", tmp_path / "selection")])
        said = capsys.readouterr()
        assert status == 1
        assert counts(said.out.splitlines())["rows selected"] == 0
        assert "no row was selected: the rule min-score dropped" in said.err.splitlines()[-1]


def test_a_plan_is_shown_and_nothing_is_retrieved(store: Path, concepts: Path, tmp_path: Path, clipmine: Run) -> None:
    lines = clipmine("retrieve", store, "--concepts", concepts, "-k", 5, "--plan", "--plan-rows", "1M", "--workers", 4)
    assert lines[0] == "rows                 1,000,000 x 16"
    assert lines[1] == "queries              14 of 2 concepts, in 1 blocks"
    assert " h on 4 workers of " in lines[-1]
    assert not list(tmp_path.glob("*/work"))


def test_a_selection_needs_a_folder(store: Path, concepts: Path, fails: Fails) -> None:
    line, status = fails("retrieve", store, "--concepts", concepts)
    assert "say where to write the selection: --out SELECTION" in line
    assert status == 2


class TestByUrl:
    """`clipmine retrieve --url`: a service's answer as the same selection."""

    @pytest.fixture
    def served(self, store: Path, tiny_clip_dir: Path) -> Path:
        remember_model(store, ModelSpec(model_dir=str(tiny_clip_dir)))
        return store

    def test_it_writes_the_selection_that_the_store_itself_gives(
        self, served: Path, concepts: Path, tmp_path: Path, clipmine: Run
    ) -> None:
        chosen = ["--concepts", concepts, "-k", 5, "--per-concept", 4, "--min-score", -0.5]
        clipmine("retrieve", served, *chosen, "--out", tmp_path / "here")
        with serving(served) as url:
            lines = clipmine("retrieve", "--url", url, *chosen, "--out", tmp_path / "there")
        here, there = Selection.open(tmp_path / "here"), Selection.open(tmp_path / "there")
        assert there.table().equals(here.table())
        assert there.losses == here.losses
        assert counts(lines)["rows selected"] == here.rows
        assert counts(lines)["hits"] == here.hits
        assert any(line.endswith("none: a service sends no reserve") for line in lines)
        assert lines[-1] == f"next: clipmine export {tmp_path / 'there'} --store STORE --out DIR"
        lines = clipmine("export", tmp_path / "there", "--store", served, "--out", tmp_path / "tars", "--workers", 1)
        assert counts(lines)["rows exported"] == here.rows

    def test_a_token_comes_from_the_environment(
        self, served: Path, concepts: Path, tmp_path: Path, clipmine: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(served, Settings(tokens=("sesame",))) as url:
            asked = ["retrieve", "--url", url, "--concepts", concepts, "--out", tmp_path / "out", "-k", 3]
            assert run([str(argument) for argument in asked]) == 2
            monkeypatch.setenv("CLIPMINE_TOKEN", "sesame")
            clipmine(*asked)
        assert Selection.open(tmp_path / "out").rows


SERVICE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say where to retrieve from: a STORE, or the --url of a service"),
        (["STORE", "--url", SERVICE], "--url and STORE STORE contradict each other"),
        (["--url", SERVICE, "--model-dir", "m"], "--url and --model-dir contradict each other"),
        (["--url", SERVICE, "--exclude", "s"], "--url and --exclude contradict each other"),
        (["--url", SERVICE, "--reserve", "1"], "--url and --reserve contradict each other"),
        (["--url", SERVICE, "--workers", "2"], "--url and --workers contradict each other"),
        (["--url", SERVICE, "--plan"], "--url and --plan contradict each other"),
        (["STORE", "--plan-rows", "400M"], "--plan-rows would have no effect without --plan"),
        (["--url", "127.0.0.1:9"], "is no URL of a service"),
        (["STORE", "--exclude-threshold", "0.9"], "--exclude-threshold would have no effect without --exclude"),
        (["STORE", "--mode", "t2t", "--min-score-t2i", "0.2"], "--min-score-t2i would have no effect with --mode t2t"),
        (["STORE", "--mode", "t2i", "--min-score-t2t", "0.2"], "--min-score-t2t would have no effect with --mode t2i"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(
    arguments: list[str], says: str, concepts: Path, tmp_path: Path, fails: Fails
) -> None:
    line, status = fails("retrieve", *arguments, "--concepts", concepts, "--out", tmp_path / "out")
    assert says in line
    assert status == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": no concept in it; write one name a line"),
        ("dog\ncat\nDog\n", ", line 3: 'Dog' is given twice (line 1); give each concept once, by its own name"),
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


def test_what_the_store_cannot_give_is_one_line(
    fails: Fails, small_store: EmbeddingStore, concepts: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    other = write_tiny_clip(tmp_path / "model", seed=1)
    for options, said in (
        (["--templates", "imagenet"], "openai_imagenet"),
        (["-k", 34], "k 34: larger than the store, which has 33 rows"),
        (["-k", 3, "--model-dir", other], "was made with"),
    ):
        line, status = fails("retrieve", small_store.path, "--concepts", concepts, "--out", tmp_path / "s", *options)
        assert said in line
        assert status == 2
