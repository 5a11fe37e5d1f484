"""The ImageNet recipe: its commands are the full pipeline, and the command line takes all their options."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

RECIPE = Path(__file__).parents[1] / "examples" / "react_imagenet.sh"


def _commands() -> list[list[str]]:
    text = RECIPE.read_text().replace("\\\n", " ")
    lines = [line[line.index("clipmine ") :] for line in text.splitlines() if re.match(r"(test .*)?clipmine ", line)]
    return [shlex.split(line.replace("$batch", "4096"))[1:] for line in lines]


def test_it_runs_the_full_pipeline() -> None:
    names = [command[0] for command in _commands()]
    assert names == ["adopt", "index", "evaluate", "retrieve", "fetch", "customize", "evaluate"]


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command[0])
def test_the_command_line_takes_every_option(command: list[str]) -> None:
    module = importlib.import_module(f"jobs.commands.{command[0]}")
    parsed: click.Context = module.command.make_context(command[0], list(command[1:]))
    assert parsed.params
