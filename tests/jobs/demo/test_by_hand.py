"""The commands in the report: each is one that clipmine takes, and asks for what the demo's stages ask for."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import Any

import pytest

from customize.clip.train.config import CustomizeConfig
from jobs.demo.by_hand import commands
from jobs.demo.settings import CONCEPTS, CUSTOMIZE, ENTITY, MODEL, NEAR_DUPLICATES, STRATEGY_SETS, K
from mining.strategies.registry import STRATEGIES, parse_mix


def parsed(lines: list[str], name: str) -> list[dict[str, Any]]:
    """The parameters of each of the lines that call the command of this name."""
    found = []
    for line in lines:
        words = shlex.split(line)
        if words[:2] == ["clipmine", name]:
            command = importlib.import_module(f"jobs.commands.{name}").command
            with command.make_context(name, words[2:]) as context:
                found.append(dict(context.params))
    return found


@pytest.fixture(params=["demo", "a folder/demo"])
def lines(request: pytest.FixtureRequest) -> list[str]:
    return commands(str(request.param), scenes=2_000, executor="ray", workers=3)


def test_every_command_is_one_that_is_there(lines: list[str]) -> None:
    called = [line.split()[1] for line in lines if line.startswith("clipmine ")]
    assert called == ["embed", "embed", "index", "retrieve", "export", "mine", "customize", "evaluate"]
    assert sum(len(parsed(lines, name)) for name in set(called)) == len(called)
    assert [line.split()[:3] for line in lines[:2]] == [["python", "-m", "scenes.tars"]] * 2


def test_scenes_folders_executor_and_workers_are_the_runs_own(lines: list[str]) -> None:
    assert "--count 2000 " in lines[0]
    corpus, evaluation = parsed(lines, "embed")
    assert (corpus["executor"], corpus["workers"], corpus["model_dir"]) == ("ray", 3, MODEL)
    assert shlex.split(lines[0])[shlex.split(lines[0]).index("--out") + 1] == corpus["source"]
    (retrieved,) = parsed(lines, "retrieve")
    assert retrieved["store"] == corpus["out"]
    assert retrieved["exclude"] == evaluation["out"]
    (trained,) = parsed(lines, "customize")
    assert (trained["store"], trained["selection"]) == (retrieved["store"], retrieved["out"])


def test_retrieval_asks_for_what_the_demo_asks_for(lines: list[str]) -> None:
    (retrieved,) = parsed(lines, "retrieve")
    assert (retrieved["k"], retrieved["mode"], retrieved["templates"]) == (K, "both", ("simple",))
    assert retrieved["near_duplicates"] == retrieved["exclude_threshold"] == NEAR_DUPLICATES
    assert Path(retrieved["concepts"]).samefile(CONCEPTS)


def test_a_small_demo_asks_for_no_more_rows_than_there_are_scenes() -> None:
    (retrieved,) = parsed(commands("demo", scenes=40, executor="local", workers=None), "retrieve")
    assert retrieved["k"] == 40


def test_mining_asks_for_all_strategies_in_equal_shares(lines: list[str]) -> None:
    (mined,) = parsed(lines, "mine")
    assert [name for name, _ in parse_mix(mined["mix"])] == list(STRATEGIES)
    assert (mined["sets"], mined["entity"]) == (STRATEGY_SETS * len(STRATEGIES), ENTITY)


def test_training_has_the_demos_settings(lines: list[str]) -> None:
    (trained,) = parsed(lines, "customize")
    assert {name: trained[name] for name in CUSTOMIZE} == CUSTOMIZE
    rest = {name: value for name, value in vars(CustomizeConfig("m", tars="t")).items() if name not in CUSTOMIZE}
    for name in rest.keys() & trained.keys() - {"out", "store", "selection", "tars", "model"}:
        assert trained[name] == rest[name], name
