"""`clipmine serve`: what cannot be served is one line and exit 2, and the defaults are those of the settings."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from index.store.embedding_store import EmbeddingStore
from jobs.commands.serve import command
from jobs.serve_ray.app import ServeArgs
from retrieval.service.settings import Settings
from tests.jobs.running import Fails
from tests.mining.made_sets import write_sets


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that the command passes to the service, which does not start."""
    found: dict[str, Any] = {}
    monkeypatch.setattr("jobs.serve_job.run_serve", lambda *given, **named: found.update(local=(given, named)))
    monkeypatch.setattr("jobs.serve_ray.start.run_serve_ray", lambda *given, **named: found.update(ray=(given, named)))
    return found


def test_defaults_are_those_of_the_settings(seen: dict[str, Any]) -> None:
    command.main(["STORE"], standalone_mode=False)
    (stores, settings), named = seen["local"]
    assert (stores, settings) == ({"STORE": "STORE"}, Settings())
    assert named == {"host": "127.0.0.1", "port": 8000, "pairs": None, "decisions": None}


def test_any_bound_may_be_set_by_its_name(seen: dict[str, Any]) -> None:
    options = ["--limit", "max_results=7", "--limit", "idle_seconds=2", "--allowed-host", "a.example"]
    command.main(["STORE", *options, "--proxy", "10.0.0.1"], standalone_mode=False)
    (_, settings), _ = seen["local"]
    assert settings == Settings(max_results=7, idle_seconds=2.0, hosts=("a.example",), proxies=("10.0.0.1",))


@pytest.mark.parametrize("chosen", [["--executor", "ray"], ["--ray"]])
def test_on_ray_defaults_are_those_of_a_config_file(chosen: list[str], seen: dict[str, Any]) -> None:
    command.main(["STORE", *chosen], standalone_mode=False)
    assert "local" not in seen
    (store, settings), named = seen["ray"]
    plain = ServeArgs(store="STORE")
    assert (store, settings) == ("STORE", Settings(name="STORE"))
    for name in ("encoder_replicas", "shard_groups", "shard_replicas"):
        assert named[name] == getattr(plain, name)


def test_replicas_are_a_number_or_a_range(seen: dict[str, Any]) -> None:
    options = ["--encoder-replicas", "1-4", "--shard-replicas", "3"]
    command.main(["STORE", "--executor", "ray", *options], standalone_mode=False)
    assert (seen["ray"][1]["encoder_replicas"], seen["ray"][1]["shard_replicas"]) == ((1, 4), 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "there is at least 1 replica"),
        ("0-2", "there is at least 1 replica"),
        ("4-1", "give the smaller number first"),
        ("2-", "neither a number of replicas"),
        ("many", "neither a number of replicas"),
    ],
)
def test_what_is_no_number_of_replicas_is_one_line(value: str, message: str, fails: Fails) -> None:
    line, status = fails("serve", "STORE", "--executor", "ray", "--shard-replicas", value)
    assert f"'--shard-replicas': {value}" in line
    assert message in line
    assert status == 2


def test_several_stores_are_served_by_their_names(seen: dict[str, Any]) -> None:
    command.main(["a/shapes", "b/scenes/", "--store", "birds=c/store"], standalone_mode=False)
    (stores, _), _ = seen["local"]
    assert list(stores.items()) == [("shapes", "a/shapes"), ("scenes", "b/scenes/"), ("birds", "c/store")]
    command.main(["a/shapes", "--name", "ours"], standalone_mode=False)
    assert seen["local"][0][0] == {"ours": "a/shapes"}


def test_limits_and_permissions_reach_the_settings(seen: dict[str, Any]) -> None:
    command.main(["STORE", "--no-exact", "--max-seconds", "5", "--list-memory", "100"], standalone_mode=False)
    assert seen["local"][0][1] == Settings(allow_exact=False, search_seconds=5.0, list_bytes=100 << 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no store to serve"),
        (["a/store", "b/store"], "a/store and b/store are both called 'store': give them other names"),
        (["--store", "birds"], "--store birds: give a name and a path"),
        (["a", "b", "--name", "x"], "--name is for a single STORE"),
        (["a", "b", "--executor", "ray"], "--executor ray serves one store"),
    ],
)
def test_stores_that_cannot_be_told_apart_are_one_line(arguments: list[str], message: str, fails: Fails) -> None:
    line, status = fails("serve", *arguments)
    assert message in line
    assert status == 2


@pytest.mark.parametrize(
    "arguments", [["nowhere"], ["--cors", "*"], ["--tokens-file", "nowhere.txt"], ["--queue", "0"]]
)
def test_bad_input_is_one_line(arguments: list[str], known_store: EmbeddingStore, fails: Fails) -> None:
    given = arguments if not arguments[0].startswith("--") else [str(known_store.path), *arguments]
    assert fails("serve", *given)[1] == 2


@pytest.mark.parametrize("chosen", [[], ["--executor", "ray"]])
def test_a_taken_port_is_one_line(chosen: list[str], known_store: EmbeddingStore, fails: Fails) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line, status = fails("serve", known_store.path, "--port", port, *chosen)
    assert f"127.0.0.1:{port}: cannot be listened on" in line
    assert "choose another --port" in line
    assert status == 2


@pytest.mark.parametrize("option", ["--encoder-replicas", "--shard-groups", "--shard-replicas"])
def test_options_of_ray_are_refused_without_it(option: str, known_store: EmbeddingStore, fails: Fails) -> None:
    line, status = fails("serve", known_store.path, option, 2)
    assert f"{option} would have no effect without --executor ray" in line
    assert status == 2


def test_pairs_that_cannot_be_served_are_one_line(known_store: EmbeddingStore, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "own").mkdir()
    pairs = write_sets(tmp_path / "own", [[0, 1], [2, 3]], store=known_store).path
    broken = tmp_path / "decisions.jsonl"
    broken.write_text("not a decision\n")
    other = write_sets(tmp_path, [[0, 1]]).path
    (Path(other) / "annotations").mkdir()
    (Path(other) / "annotations" / "corrections.jsonl").write_text("not a correction\n")
    for arguments, message in (
        (["--pairs", tmp_path / "nowhere"], "no image sets"),
        (["--pairs", other], "corrections.jsonl, line 1: "),
        (["--pairs", pairs, "--decisions", broken], "decisions.jsonl, line 1: "),
        (["--decisions", broken], "name their folder too"),
        (["--executor", "ray", "--pairs", pairs], "leave out --executor ray"),
    ):
        line, status = fails("serve", known_store.path, "--port", 0, *arguments)
        assert message in line
        assert status == 2
