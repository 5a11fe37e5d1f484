"""Actions directed at a target: the verb of each pose with a target, and how actor and target are arranged.

An action has no drawing of its own: a running dog behind a ball is chasing it. So the verb is a function of the actor's
pose, and the arrangement makes the action visible.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from scenes.world.catalog import ObjectType
from scenes.world.scene import Scene, SceneObject

Arrangement = Literal["ahead", "touching", "over"]


@dataclasses.dataclass(frozen=True)
class Action:
    """The verb of a pose with a target."""

    pose: str
    verb: str  # present participle with its preposition: "looking at"
    arrangement: Arrangement
    follows: bool = False  # whether the target faces the same way, as one that flees
    targets: tuple[str, ...] = ()  # categories and types that may be the target; (): any


_MOVES = ("animal", "person", "people", "creature", "vehicle", "toy", "ball")
ACTIONS = {
    action.pose: action
    for action in (
        Action("running", "chasing", "ahead", True, _MOVES),
        Action("walking", "walking towards", "ahead"),
        Action("standing", "looking at", "ahead"),
        Action("sitting", "watching", "ahead"),
        Action("sleeping", "sleeping next to", "touching"),
        Action("lying", "lying next to", "touching"),
        Action("jumping", "jumping over", "over"),
        Action("flying", "flying over", "over"),
        Action("gliding", "gliding over", "over"),
        Action("swimming", "swimming towards", "ahead"),
        Action("eating", "eating", "touching", False, ("food", "fruit", "vegetable", "plant")),
        Action("waving", "waving at", "ahead"),
        Action("pointing", "pointing at", "ahead"),
        Action("reaching", "reaching for", "touching"),
        Action("pushing", "pushing", "touching", False, ("vehicle", "toy", "furniture")),
        Action("kicking", "kicking", "touching", False, ("ball", "toy")),
        Action("playing", "playing with", "touching", False, ("toy", "ball", "animal", "instrument")),
        Action("crawling", "crawling towards", "ahead"),
        Action("dancing", "dancing next to", "touching"),
        Action("barking", "barking at", "ahead"),
        Action("driving", "following", "ahead", True, ("vehicle", "animal")),
    )
}
_LOW_ENOUGH = 0.42  # height of the tallest target that can be jumped over


def verb_of(thing: SceneObject) -> str | None:
    """The verb of an object's directed action ("chasing"), or None when it has no target."""
    action = ACTIONS.get(thing.pose)
    return action.verb if action is not None and thing.target is not None else None


def possible(pose: str, actor: ObjectType, target: ObjectType) -> bool:
    """Whether an actor in a pose can act on a target of that type."""
    action = ACTIONS.get(pose)
    if action is None or pose not in actor.poses or not acts(actor):
        return False
    if action.arrangement == "over" and pose == "jumping" and target.size > _LOW_ENOUGH:
        return False
    return not action.targets or any(name in action.targets for name in (target.name, *target.path))


def acts(kind: ObjectType) -> bool:
    """Whether objects of the type can act, which are those with more than one pose."""
    return len(kind.poses) > 1


def is_activity(pose: str) -> bool:
    """Whether a pose is an activity ("running") and not a state ("open", "parked")."""
    return pose.endswith("ing")


def action_holds(scene: Scene, i: int, verb: str, j: int) -> bool:
    """Whether object i does `verb` to object j."""
    return scene.objects[i].target == j and verb_of(scene.objects[i]) == verb
