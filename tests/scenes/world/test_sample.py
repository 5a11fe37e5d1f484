from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scenes.world.catalog import load_catalog
from scenes.world.compose import SHOWN, fits
from scenes.world.facts import confusable
from scenes.world.geometry import visible_shares
from scenes.world.sample import sample, scenes
from scenes.world.scene import to_json
from scenes.world.splits import SPLITS, concept_groups, held_out

ROOT = Path(__file__).parents[3]
N = 300


def test_a_scene_is_the_same_in_another_process() -> None:
    for split in ("corpus", "test"):
        command = [sys.executable, "-m", "scenes.world.sample", split, "11"]
        environment = {**os.environ, "PYTHONHASHSEED": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
        assert done.stdout.strip() == to_json(sample(split, 11))


def test_ids_name_the_split_and_the_number() -> None:
    assert sample("pool", 12).id == "pool/12"
    with pytest.raises(KeyError):
        sample("nowhere", 0)


@pytest.mark.parametrize("split", SPLITS)
def test_every_object_is_visible_and_where_it_belongs(split: str) -> None:
    catalog = load_catalog()
    for scene in scenes(split, 0, 150):
        assert 1 <= len(scene.objects) <= 4
        assert min(visible_shares(scene.objects)) >= SHOWN - 1e-9
        assert len({thing.depth for thing in scene.objects}) == len(scene.objects)
        for thing in scene.objects:
            assert fits(catalog.types[thing.type], catalog.places[scene.place])
            assert thing.pose in catalog.types[thing.type].poses
            assert not any(confusable(thing.type, other.type) for other in scene.objects)


def test_no_two_splits_share_a_scene() -> None:
    seen: dict[str, str] = {}
    for split in SPLITS:
        for scene in scenes(split, 0, N):
            content = to_json(dataclasses.replace(scene, id=""))
            assert seen.setdefault(content, scene.id) == scene.id
    assert len(seen) == N * len(SPLITS)


def test_every_type_has_a_place_to_be() -> None:
    catalog = load_catalog()
    places = {name: [p for p in catalog.places.values() if fits(kind, p)] for name, kind in catalog.types.items()}
    assert [name for name, found in places.items() if not found] == []


def test_held_out_compositions_are_in_half_of_the_test_and_nowhere_else() -> None:
    for split in SPLITS:
        shown = [bool(held_out(scene)) for scene in scenes(split, 0, N)]
        assert sum(shown) == (N // 2 if SPLITS[split].held_out else 0)


def test_concepts_are_as_frequent_as_their_group_says() -> None:
    groups = {name: group for group, names in concept_groups().items() for name in names}

    def shares(split: str) -> Counter[str]:
        counts = Counter(groups[thing.type] for scene in scenes(split, 0, 1000) for thing in scene.objects)
        return Counter({group: 1000 * n // sum(counts.values()) for group, n in counts.items()})

    pretrain, corpus, test = shares("pretrain"), shares("corpus"), shares("test")
    assert pretrain["rare"] <= 6
    assert corpus["rare"] > 60
    assert corpus["absent"] == 0
    assert pretrain["absent"] <= 6
    assert min(test[group] for group in groups.values()) > 30
    assert pretrain["frequent"] > pretrain["medium"] * 0.6


def test_frequencies_have_a_long_tail() -> None:
    counts = Counter(thing.type for scene in scenes("pretrain", 0, 2000) for thing in scene.objects).most_common()
    assert counts[0][1] > 8 * counts[len(counts) // 2][1]
    assert len(counts) > 100


def test_some_scenes_show_groups_actions_named_individuals_and_stories() -> None:
    shown = list(scenes("language", 0, N))
    types = [[thing.type for thing in scene.objects] for scene in shown]
    assert sum(len(set(names)) < len(names) for names in types) > 0.08 * N
    assert sum(any(thing.target is not None for thing in scene.objects) for scene in shown) > 0.08 * N
    assert sum(any(thing.entity for thing in scene.objects) for scene in shown) > 0.05 * N
    told = [scene for scene in shown if scene.story]
    assert 0.05 * N < len(told) < 0.3 * N
    assert {scene.step for scene in told} == {0, 1, 2, 3}
