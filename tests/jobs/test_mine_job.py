"""The mining job: the same sets from all executors and after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jobs.mine_job
import mining.strategies.identity
import mining.strategies.neighbors.nearest
from index.errors import BadInput, OutputExists
from index.store.embedding_store import EmbeddingStore
from jobs.mine_job import IDENTITY, list_mining, run_mine
from mining.strategies.context import Candidates, MapItems, MiningConfig, MiningContext, Strategy
from mining.strategies.minable import Side
from mining.strategies.registry import get_strategy, parse_mix
from tests.folders import file_bytes
from tests.jobs.running import clipmine_command
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import index_both, mining_store

HERO = "truth.objects.entity"
MIX = "similar,diverse,identity,random"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    store = mining_store(tmp_path_factory.mktemp("world"))
    index_both(store)
    return store


@pytest.fixture(scope="module")
def expected(world: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted local run."""
    folder = tmp_path_factory.mktemp("expected")
    run_mine(_config(world, folder / "pairs"))
    return _files(folder / "pairs")


def _config(store: EmbeddingStore, out: Path, mix: str = MIX, **choices: Any) -> MiningConfig:
    asked = {"sets": 100, "entity": HERO, **choices}
    return MiningConfig(str(store.path), str(out), parse_mix(mix), **asked)


def _files(folder: Path) -> dict[str, bytes]:
    """All files; the manifest without the place of the store as seen from here."""
    found = file_bytes(folder)
    manifest = json.loads(found["manifest.json"])
    for source in manifest["sources"].values():
        del source["relative"]
    return {**found, "manifest.json": json.dumps(manifest).encode()}


def test_all_executors_make_the_same_sets(
    executor: str, world: EmbeddingStore, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small enough that neighbours and metadata are several items; what is made does not depend on it.
    monkeypatch.setattr(mining.strategies.neighbors.nearest, "CHUNK_ANCHORS", 150)
    monkeypatch.setattr(mining.strategies.identity, "ITEM_ROWS", 100)
    run_mine(_config(world, tmp_path / "pairs"), executor=executor, workers=2)
    assert _files(tmp_path / "pairs") == expected


@pytest.mark.parametrize("moment", ["similar/near_image_0000_0000.npz", "identity/candidates.json"])
def test_a_run_that_is_killed_goes_on_and_makes_the_same_sets(
    world: EmbeddingStore, expected: dict[str, bytes], tmp_path: Path, moment: str
) -> None:
    out = tmp_path / "pairs"
    command = clipmine_command("mine", world.path, "--strategy", MIX, "--sets", 100, "--entity", HERO, "--out", out)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    reached, deadline = out / "work" / moment, time.monotonic() + 60
    while not reached.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert reached.exists()
    assert not (out / "manifest.json").exists()
    written = reached.stat().st_mtime_ns
    seen: list[int] = []
    remove = shutil.rmtree

    def look_and_remove(path: Any, **choices: Any) -> None:
        seen.append(reached.stat().st_mtime_ns)
        remove(path, **choices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", look_and_remove)
        run_mine(_config(world, out))
    assert seen == [written]  # what was finished was not done again
    assert _files(out) == expected


def test_a_complete_run_is_read_and_another_configuration_is_refused(world: EmbeddingStore, tmp_path: Path) -> None:
    first = run_mine(_config(world, tmp_path / "pairs", "random"))
    again = run_mine(_config(world, tmp_path / "pairs", "random"))
    assert [each.set_id for each in again] == [each.set_id for each in first]
    with pytest.raises(OutputExists, match=r"other sets, seed\)"):
        run_mine(_config(world, tmp_path / "pairs", "random", sets=50, seed=1))


def test_a_new_option_at_its_default_leaves_a_finished_run_finished(world: EmbeddingStore, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Later(MiningConfig):
        new: int = 3

    first = _config(world, tmp_path / "pairs", "random")
    run_mine(first)
    asked = {each.name: getattr(first, each.name) for each in fields(first)}
    assert len(run_mine(Later(**asked))) == 100
    with pytest.raises(OutputExists, match=r"other new\)"):
        run_mine(Later(**asked, new=4))


def test_every_option_of_the_first_release_is_there_and_each_other_has_a_default() -> None:
    there = {each.name: each for each in fields(MiningConfig)}
    assert set(IDENTITY) <= set(there)
    assert all(there[name].default is not MISSING for name in there.keys() - {*IDENTITY, "out"})


def test_quotas_add_up_to_the_sets_asked_for() -> None:
    config = MiningConfig("store", "out", parse_mix("similar,random,diverse"), sets=100)
    assert [mine.wanted for mine in list_mining(config)] == [34, 33, 33]


def test_what_was_rejected_is_not_mined_again(world: EmbeddingStore, tmp_path: Path) -> None:
    first = run_mine(_config(world, tmp_path / "first", "random", sets=20))
    gone = [each.set_id for each in first][:5]
    rows = [[member.row_id for member in each.members] for each in first][:5]
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text(
        "".join(
            json.dumps({"rows": sorted(own), "strategy": "random", "decision": "reject", "time": ""}) + "\n"
            for own in rows
        )
    )
    second = run_mine(_config(world, tmp_path / "second", "random", sets=20, decisions=str(decisions)))
    assert not set(gone) & {each.set_id for each in second}
    assert second.manifest["strategies"][0]["dropped"]["rejected by a decision"] == 5
    decisions.write_text("no decision\n" + decisions.read_text())
    with pytest.raises(BadInput, match=r"decisions\.jsonl, line 1"):
        run_mine(_config(world, tmp_path / "third", "random", decisions=str(decisions)))
    assert not (tmp_path / "third").exists()


def test_what_the_user_must_correct_leaves_the_folder_free(world: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no row has a value in who"):
        run_mine(_config(world, tmp_path / "pairs", "random,identity", entity="who"))
    assert len(run_mine(_config(world, tmp_path / "pairs", "random,identity"))) == 100


def test_with_a_hold_out_every_set_is_of_one_side_and_both_have_their_share(
    world: EmbeddingStore, tmp_path: Path
) -> None:
    mix = "similar,diverse,contrast,identity,groups,random"
    choices = {"hold_out": 0.3, "sets": 60, "near_duplicates": 0.97, "group_size": (2, 3)}
    sets = run_mine(_config(world, tmp_path / "pairs", mix, **choices))
    held = Side(0.3, True)
    shown: dict[str | None, set[int]] = {"train": set(), "held-out": set()}
    for each in sets:
        rows = np.array([member.row_id for member in each.members])
        assert held.contains(rows).tolist() == [each.split == "held-out"] * len(rows)
        shown[each.split] |= set(rows.tolist())
    train, out = (world.gather("image", sorted(shown[side])).astype(np.float32) for side in ("train", "held-out"))
    assert (out @ train.T).max() < 0.97
    made = {(each["strategy"], each["split"]): (each["made"], each["wanted"]) for each in sets.manifest["strategies"]}
    assert len(made) == 12
    assert made["random", "train"] == made["similar", "train"] == (7, 7)
    assert made["random", "held-out"] == made["similar", "held-out"] == (3, 3)
    assert all(count for count, _ in made.values())


HELD_BACK = {"hold_out": 0.3, "sets": 60, "near_duplicates": 0.97, "group_size": (2, 3)}


def test_both_sides_of_a_hold_out_have_the_same_limits_and_levels(world: EmbeddingStore, tmp_path: Path) -> None:
    mix = "similar,attribute,diverse,contrast,identity,groups"
    sets = run_mine(_config(world, tmp_path / "pairs", mix, **HELD_BACK))
    _same_limits(sets.manifest["strategies"], mix)
    selection = write_test_selection(world, tmp_path / "selection", {"dog": range(0, 240, 2), "cup": range(240)})
    mix = "similar,diverse,groups"
    sets = run_mine(_config(world, tmp_path / "concepts", mix, selection=selection, **HELD_BACK))
    _same_limits(sets.manifest["strategies"], mix)
    assert {"dog: far", "cup: level 4 below"} <= set(sets.manifest["strategies"][2]["measured"])


def _same_limits(summaries: list[dict[str, Any]], mix: str) -> None:
    measured = {(each["strategy"], each["split"]): each["measured"] for each in summaries}
    for name in mix.split(","):
        train, held = ({**measured[name, side], "anchors": 0} for side in ("train", "held-out"))
        assert len(train) > 1
        assert held == train
    notes = {each["strategy"]: each["notes"] for each in summaries if each["split"] == "held-out"}
    assert all("limits and levels are those of the training side" in each for each in notes.values())


@pytest.mark.parametrize("strategy", ["similar", "groups"])
def test_a_run_that_stops_before_the_held_out_side_goes_on_and_makes_the_same_sets(
    world: EmbeddingStore, tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_mine(_config(world, tmp_path / "whole", strategy, **HELD_BACK))
    with monkeypatch.context() as patch:
        patch.setattr(jobs.mine_job, "get_strategy", _stops_at_the_held_out_side)
        with pytest.raises(KeyboardInterrupt):
            run_mine(_config(world, tmp_path / "pairs", strategy, **HELD_BACK))
    run_mine(_config(world, tmp_path / "pairs", strategy, **HELD_BACK))
    assert _files(tmp_path / "pairs") == _files(tmp_path / "whole")


def _stops_at_the_held_out_side(name: str) -> Strategy:
    def strategy(ctx: MiningContext, map_items: MapItems) -> Candidates:
        if ctx.split == "held-out":
            raise KeyboardInterrupt
        return get_strategy(name)(ctx, map_items)

    return strategy


def test_another_seed_has_the_same_sides(world: EmbeddingStore, tmp_path: Path) -> None:
    sides = []
    for seed in (1, 2):
        sets = run_mine(_config(world, tmp_path / str(seed), "random", seed=seed, sets=200, hold_out=0.3))
        sides.append({(member.row_id, each.split) for each in sets for member in each.members})
    assert len({row for row, _ in sides[0] | sides[1]}) == len(sides[0] | sides[1])


def test_a_hold_out_that_leaves_nothing_is_named_and_the_folder_stays_free(
    world: EmbeddingStore, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"--hold-out 0\.01 of --sets 10 leaves no set on one side"):
        run_mine(_config(world, tmp_path / "pairs", "random", sets=10, hold_out=0.01))
    with pytest.raises(BadInput, match=r"--hold-out 0\.1 leaves no held-out set \(similar \(held-out\): 10 of 10 sets"):
        run_mine(_config(world, tmp_path / "pairs", "similar", hold_out=0.1, near_duplicates=0.01))
    assert len(run_mine(_config(world, tmp_path / "pairs", "random"))) == 100


def test_stories_are_held_out_in_a_run_of_their_own(world: EmbeddingStore, tmp_path: Path) -> None:
    stories = {"entity": "truth.story", "order": "truth.step", "set_size": 4, "hold_out": 0.3, "sets": 40}
    with pytest.raises(BadInput, match="a story is held out as a whole, which a mix cannot do"):
        run_mine(_config(world, tmp_path / "mix", "identity,random", **stories))
    sets = run_mine(_config(world, tmp_path / "stories", "identity", **stories))
    assert {each.split for each in sets} == {"train", "held-out"}
    assert all(each.size == 4 for each in sets)


def test_a_strategy_that_maps_files_needs_a_local_folder(world: EmbeddingStore) -> None:
    config = MiningConfig(str(world.path), "memory://pairs", parse_mix("overlap"), sets=10)
    with pytest.raises(
        BadInput, match="overlap maps files of its working folder into memory, and --out memory://pairs"
    ):
        run_mine(config)


def test_workers_that_do_not_see_the_folder_stop_the_run_before_it_begins(world: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match=r"memory://pairs: .* does not see what .* writes there"):
        run_mine(MiningConfig(str(world.path), "memory://pairs", parse_mix("similar"), sets=10), workers=2)
