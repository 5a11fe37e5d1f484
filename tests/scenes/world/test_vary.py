from __future__ import annotations

import pytest

from scenes.world.entities import LOOK, individuals
from scenes.world.geometry import relative_size
from scenes.world.sample import sample, scenes
from scenes.world.vary import vary


def test_the_looks_stay_and_the_rest_changes() -> None:
    moved = 0
    for scene in scenes("corpus", 0, 60):
        other = vary(scene, 1)
        moved += other.place != scene.place
        assert other.background != scene.background
        for before, after in zip(scene.objects, other.objects, strict=False):
            assert [getattr(before, name) for name in LOOK] == [getattr(after, name) for name in LOOK]
            assert relative_size(after) == pytest.approx(relative_size(before), abs=0.01)
    assert moved > 40


def test_named_individuals_can_be_put_together() -> None:
    first, second = list(individuals().values())[:2]
    scene = vary([first, second], seed=5)
    assert [thing.entity for thing in scene.objects[:2]] == [first.name, second.name]


def test_the_same_seed_gives_the_same_scene() -> None:
    scene = sample("corpus", 4)
    assert vary(scene, 2) == vary(scene, 2) != vary(scene, 3)


def test_poses_and_company_vary() -> None:
    entity = next(iter(individuals().values()))
    varied = [vary([entity], seed) for seed in range(30)]
    assert len({scene.objects[0].pose for scene in varied}) > 1
    assert len({scene.place for scene in varied}) > 2
    assert len({len(scene.objects) for scene in varied}) > 1
