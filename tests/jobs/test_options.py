"""Shared options: former names, options that would have no effect, and which model the options name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from jobs.cli import COMMANDS, load_command
from jobs.executors.execute import EXECUTORS
from jobs.options import EXECUTOR_PLACES, RenamedOption, executor_option, model_spec, refuse_without_effect

Invoke = Callable[..., Any]


@click.command
@click.option("--size", cls=RenamedOption, former={"--many": None}, type=int, default=4, help="How many.")
@executor_option(("local", "ray"), former={"--ray": "ray", "--distributor": {"multiprocessing": "local"}})
def renamed(size: int, executor: str) -> None:
    click.echo(f"{size} {executor}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "4 local"),
        ("--size 5 --executor ray", "5 ray"),
        ("--many 5", "5 local"),
        ("--many=5 --ray", "5 ray"),
        ("--distributor ray", "4 ray"),
        ("--distributor multiprocessing", "4 local"),
    ],
)
def test_former_names_mean_the_same(arguments: str, said: str) -> None:
    result = CliRunner().invoke(renamed, arguments.split())
    assert (result.exit_code, result.output.strip()) == (0, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--many five", "Invalid value for '--size': 'five' is not a valid integer"),
        ("--distributor spark", "Invalid value for '--executor': 'spark' is not one of 'local', 'ray'"),
        ("--executor multiprocessing", "'multiprocessing' is not one of 'local', 'ray'"),
        ("--many 5 --size 5", "--many is the former name of --size: give one of them"),
    ],
)
def test_errors_speak_of_the_present_name(arguments: str, said: str) -> None:
    result = CliRunner().invoke(renamed, arguments.split())
    assert result.exit_code == 2
    assert said in result.output


def test_help_shows_the_present_names_only() -> None:
    shown = CliRunner().invoke(renamed, ["--help"]).output
    assert "--size INTEGER" in shown
    assert "--executor [local|ray]" in shown
    assert "spark" not in shown
    for former in ("--many", "--ray", "--distributor"):
        assert former not in shown


def test_every_executor_can_be_chosen() -> None:
    assert tuple(EXECUTOR_PLACES) == EXECUTORS


FORMER = {
    "customize": {"--batch"},
    "export": {"--samples-per-shard"},
    "fetch": {"--samples-per-shard", "--processes", "--distributor"},
    "download": {"--samples-per-shard", "--processes", "--distributor"},
    "serve": {"--ray"},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_one_thing_has_one_name_in_all_commands(name: str) -> None:
    command = load_command(name)
    shown = {option for parameter in command.params for option in parameter.opts}
    former = {option for parameter in command.params for option in getattr(parameter, "former", ())}
    assert not shown & {"--batch", "--samples-per-shard", "--ray", "--distributor", "--processes", "--output"}
    assert former >= FORMER.get(name, set())
    assert not former & shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    command = load_command(name)
    silent = [
        parameter.name for parameter in command.params if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert not silent


@click.command
@click.option("--depth", type=int, default=1)
@click.option("--width", type=int, default=1)
@click.option("--deep", is_flag=True)
def shaped(depth: int, width: int, deep: bool) -> None:
    if not deep:
        refuse_without_effect(["depth", "width"], "without --deep")


def test_options_that_would_have_no_effect_are_refused_when_given() -> None:
    assert CliRunner().invoke(shaped, []).exit_code == 0
    assert CliRunner().invoke(shaped, ["--deep", "--depth", "1"]).exit_code == 0
    refused = CliRunner().invoke(shaped, ["--depth", "1"])  # the default's value, but given
    assert refused.exit_code == 2
    assert "--depth would have no effect without --deep" in refused.output
    both = CliRunner().invoke(shaped, ["--depth", "2", "--width", "2"])
    assert "--depth and --width would have no effect" in both.output


def test_the_model_that_the_options_name() -> None:
    assert model_spec(None, None, None, None, "fp32") is None
    assert model_spec("ViT-B-32", "openai", None, None, "fp16") == ModelSpec("ViT-B-32", "openai", precision="fp16")
    assert model_spec(None, None, "folder", None, "fp32") == ModelSpec(model_dir="folder")
    with pytest.raises(BadInput, match="name a --model too"):
        model_spec(None, "openai", None, None, "fp32")
