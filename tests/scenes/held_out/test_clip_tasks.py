"""Held-out scenes as evaluation sets that the evaluation reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.clip.evaluate.task_files import load_task, open_split
from index.errors import BadInput
from scenes.held_out.clip_tasks import default_types, single_objects, write_tasks
from scenes.world.splits import concept_groups

TYPES = tuple(concept_groups()["rare"][:2])  # each is in one of thirty test scenes


def test_single_objects_show_one_type_alone_and_are_the_same_again() -> None:
    found = single_objects(TYPES, 2)
    assert all(len(scene.objects) == 1 for scenes in found.values() for scene in scenes)
    assert {name: {scene.objects[0].type for scene in scenes} for name, scenes in found.items()} == {
        name: {name} for name in TYPES
    }


def test_every_group_is_among_the_default_types() -> None:
    groups = concept_groups()
    assert all(set(default_types()) & set(groups[group]) for group in ("frequent", "rare", "absent", "made_up"))
    with pytest.raises(BadInput, match="'unicorn-fish' is no type"):
        single_objects(("unicorn-fish",), 1)


def test_tasks_are_read_by_the_evaluation(tmp_path: Path) -> None:
    paths = write_tasks(tmp_path, types=TYPES, per_type=1, shots=1, scenes=4)
    assert [path.name for path in paths] == ["types.yaml", "captions.yaml", "parts.yaml", "boxes.yaml"]
    tasks = {path.stem: load_task(path) for path in paths}
    types = list(open_split(tasks["types"], None, "test"))
    assert [example.labels for example in types] == [(0,), (1,)]
    assert types[0].open().size == (96, 96)
    assert len(next(iter(open_split(tasks["captions"], None, "test"))).captions) == 5
    parts = list(open_split(tasks["parts"], None, "test"))
    assert len(parts) == 4
    assert parts[0].mask is not None
    assert parts[0].mask().shape == (96, 96)
    boxes = [example for example in open_split(tasks["boxes"], None, "test") if len(example.boxes)]
    assert boxes[0].boxes.shape == (len(boxes[0].box_labels), 4)
