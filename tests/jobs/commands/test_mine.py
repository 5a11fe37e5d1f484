"""`clipmine mine`: what became of every proposal, shortfalls, and what cannot be mined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from index.store.embedding_store import EmbeddingStore
from jobs.cli import run
from jobs.commands.mine import command
from mining.sets.image_sets import ImageSets
from mining.strategies.context import MiningConfig
from tests.jobs.running import Fails, Run, counts
from tests.mining.worlds import index_both, mining_store


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    store = mining_store(tmp_path_factory.mktemp("world"))
    index_both(store)
    return store


def test_it_says_what_became_of_every_proposal(world: EmbeddingStore, tmp_path: Path, clipmine: Run) -> None:
    asked = ["mine", world.path, "--strategy", "similar:3,random", "--sets", 40, "--out", tmp_path / "pairs"]
    lines = clipmine(*asked)
    found = counts(lines)
    assert found["sets"] == 40
    for name, quota in (("similar", 30), ("random", 10)):
        assert found[f"{name}: made"] == quota
        lost = sum(count for label, count in found.items() if label.startswith(f"{name}: - "))
        assert found[f"{name}: proposed"] == quota + lost
    assert lines[-1] == f"next: clipmine serve {world.path} --pairs {tmp_path / 'pairs'}"
    assert json.loads(clipmine(*asked, "--json")[0])["sets"] == 40


def test_the_sides_of_a_hold_out_are_counted_apart(world: EmbeddingStore, tmp_path: Path, clipmine: Run) -> None:
    asked = ["mine", world.path, "--strategy", "random", "--sets", 40, "--hold-out", 0.25, "--out", tmp_path / "pairs"]
    found = counts(clipmine(*asked))
    assert (found["random (train): made"], found["random (held-out): made"]) == (30, 10)


def test_a_quota_that_cannot_be_met_fails_only_when_strict(
    world: EmbeddingStore, tmp_path: Path, clipmine: Run, fails: Fails
) -> None:
    asked = ["mine", world.path, "--strategy", "similar", "--sets", 5000, "--max-per-image", 1]
    said = "\n".join(clipmine(*asked, "--out", tmp_path / "pairs"))
    assert "of 5,000 sets are missing: only" in said
    assert "an image in enough sets" in said
    line, status = fails(*asked, "--out", tmp_path / "pairs", "--strict")
    assert "of 5,000 sets are missing" in line
    assert status == 2
    assert len(ImageSets.open(tmp_path / "pairs"))


def test_no_set_at_all_is_said_and_is_not_exit_0(
    world: EmbeddingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--strategy", "similar", "--sets", "5", "--near-duplicates", "0.000001", "--out", str(tmp_path / "pairs")]
    assert run(["mine", str(world.path), *asked]) == 1
    said = capsys.readouterr()
    assert counts(said.out.splitlines())["sets"] == 0
    assert said.err.splitlines()[-1].endswith("no set was found; the lines above say what was dropped")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--strategy similiar", "unknown strategy 'similiar': choose from similar, diverse"),
        ("--strategy random --sets 0", "--sets must be at least 1"),
        ("--strategy random --levels one", "whole numbers separated by commas"),
        ("--strategy similar --levels 9", "similar has the levels 1-4 (5 with --ceiling), and --levels 9 has none"),
        ("--strategy random --decisions nowhere.jsonl", "there is no such decisions file"),
        ("--strategy random --selection nowhere", "no selection"),
        ("--strategy identity", "identity needs --entity FIELD"),
        ("--strategy random --axes color", "--axes would have no effect without --strategy attribute"),
        ("--strategy random --facts truth", "--facts would have no effect without --strategy attribute"),
        ("--strategy random --ceiling 1", "--ceiling would have no effect without --strategy similar or attribute"),
        ("--strategy random --names", "--names would have no effect without --strategy overlap"),
        ("--strategy random --rare-nouns", "--rare-nouns would have no effect without --strategy overlap"),
        (
            "--strategy random --captions all",
            "--captions would have no effect without --strategy overlap or attribute or groups",
        ),
        ("--strategy random --hold-out 1.5", "--hold-out is a part of the images, from 0 to below 1, not 1.5"),
        ("--strategy random --hold-out 0.0001", "--hold-out 0.0001 leaves 1 row held out, and a pair needs two"),
        ("--strategy groups --group-size many", "a whole number, or a range as in 3-8"),
        ("--strategy groups --group-size 5-3", "--group-size is a number or a range within 2-32, as in 3-8, not 5-3"),
        ("--strategy random --group-size 4", "--group-size would have no effect without --strategy groups"),
        ("--strategy random --context f", "--context would have no effect without --strategy identity"),
        ("--strategy random --entity f", "--entity would have no effect without --strategy identity"),
    ],
)
def test_bad_input_is_one_line(
    world: EmbeddingStore, tmp_path: Path, arguments: str, message: str, fails: Fails
) -> None:
    line, status = fails("mine", world.path, "--out", tmp_path / "pairs", *arguments.split())
    assert message in line
    assert status == 2
    assert not (tmp_path / "pairs").exists()


def test_a_store_with_one_row_is_a_clear_line(tmp_path: Path, fails: Fails) -> None:
    store = mining_store(tmp_path, rows=1 + 1)
    (store.path / "forgotten").mkdir()
    np.save(store.path / "forgotten/0000.npy", np.array([1]))
    line, status = fails("mine", store.path, "--strategy", "similar", "--out", tmp_path / "pairs")
    assert "has 1 row that may be mined, and a pair needs two" in line
    assert status == 2


def test_defaults_are_those_of_the_configuration() -> None:
    plain = MiningConfig("store", "out", (("random", 1.0),))
    with command.make_context("mine", ["store", "--strategy", "random", "--out", "out"]) as context:
        for name in vars(plain).keys() & context.params.keys():
            assert context.params[name] == getattr(plain, name), name
