from __future__ import annotations

import numpy as np
import pytest

from scenes.drawing.render import render
from scenes.world.geometry import RELATIONS, box, overlap, relation_holds, seen, visible_shares, zone
from scenes.world.sample import scenes
from scenes.world.scene import Scene, SceneObject

OPPOSITE = {
    "left_of": "right_of", "right_of": "left_of", "above": "below", "below": "above",
    "behind": "in_front_of", "in_front_of": "behind", "next_to": "next_to",
}  # fmt: skip


def _two(**second: float) -> Scene:
    first = SceneObject("apple", x=0.3, y=0.8, size=0.9, depth=0.2)
    other = SceneObject("apple", x=0.7, y=0.8, size=0.9, depth=0.21)
    return Scene("x/0", "kitchen", (first, SceneObject(**(vars(other) | second))))


def test_left_and_right_are_told_by_the_centers() -> None:
    assert relation_holds(_two(), "left_of", 0, 1)
    assert not relation_holds(_two(x=0.35), "left_of", 0, 1)


def test_depth_tells_behind() -> None:
    assert relation_holds(_two(depth=0.6), "behind", 1, 0)
    assert not relation_holds(_two(depth=0.3), "behind", 1, 0)


def test_an_unknown_relation_is_named() -> None:
    with pytest.raises(ValueError, match="left_of"):
        relation_holds(_two(), "inside", 0, 1)


def test_what_is_covered_is_not_seen() -> None:
    hidden = _two(x=0.31, depth=0.5)
    assert seen(hidden) == (0,)
    assert seen(_two()) == (0, 1)


def test_zones_leave_a_gap_between_them() -> None:
    names = [zone(SceneObject("apple", x=x / 100, y=0.8, size=1.0)) for x in range(101)]
    assert [name for n, name in enumerate(names) if n == 0 or name != names[n - 1]] == [
        "left", "", "middle", "", "right",
    ]  # fmt: skip


def test_relations_come_in_opposites() -> None:
    for scene in scenes("pretrain", 0, 150):
        pairs = [(i, j) for i in range(len(scene.objects)) for j in range(len(scene.objects)) if i != j]
        for i, j in pairs:
            for name in RELATIONS:
                assert relation_holds(scene, name, i, j) == relation_holds(scene, OPPOSITE[name], j, i)


def test_boxes_and_visible_shares_agree_with_the_drawing() -> None:
    agreement, shown, held, told = [], [], 0, 0
    for scene in scenes("pretrain", 0, 120):
        drawn = render(scene)
        for i, thing in enumerate(scene.objects):
            ours, theirs = box(thing), tuple(float(edge) / 96 for edge in drawn.boxes[i])
            both = overlap(ours, theirs)  # type: ignore[arg-type]
            union = (ours[2] - ours[0]) * (ours[3] - ours[1]) + (theirs[2] - theirs[0]) * (theirs[3] - theirs[1])
            agreement.append(both / (union - both))
        shown += list(drawn.visible)
        for i in range(len(scene.objects)):
            for j in range(len(scene.objects)):
                if i != j and relation_holds(scene, "left_of", i, j):
                    told += 1
                    held += bool(drawn.boxes[i, [0, 2]].sum() < drawn.boxes[j, [0, 2]].sum())
    assert np.mean(agreement) > 0.75
    assert np.mean(np.array(shown) > 0.5) > 0.99
    assert held >= 0.99 * told > 0


def test_visible_shares_count_what_is_outside_the_picture_as_hidden() -> None:
    half_out = SceneObject("apple", x=0.0, y=0.8, size=1.0)
    assert visible_shares([half_out])[0] == pytest.approx(0.5, abs=0.01)
