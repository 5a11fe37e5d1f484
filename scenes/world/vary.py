"""New scenes with the same individuals: other poses, light, view, place and companions, but the same looks."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from scenes.world.actions import possible
from scenes.world.catalog import Catalog, ObjectType, Place, load_catalog
from scenes.world.compose import CastMember, compose, draw_conditions, fits
from scenes.world.entities import LOOK, Entity, draw_look, draw_scale
from scenes.world.facts import confusable
from scenes.world.geometry import relative_size
from scenes.world.scene import Background, Scene, SceneObject
from scenes.world.seeded_random import between, pick, rng_of

_ATTEMPTS = 60
_COMPANION = 0.6  # probability that another object is added


def cast_member(individual: Entity | SceneObject, pose: str) -> CastMember:
    """A cast member with an individual's look; of a scene's object only the fields of `entities.LOOK` are kept."""
    if isinstance(individual, Entity):
        return CastMember(individual.look, individual.scale, pose)
    look = SceneObject(x=0.5, y=0.9, size=1.0, **{name: getattr(individual, name) for name in LOOK})
    return CastMember(look, round(relative_size(individual), 3), pose)


def meeting_places(catalog: Catalog, kinds: Sequence[ObjectType]) -> list[Place]:
    """The places where all types may appear; if there is none, those where most of them may."""
    counted = [(sum(fits(kind, place) for kind in kinds), place) for _, place in sorted(catalog.places.items())]
    most = max(count for count, _ in counted)
    return [place for count, place in counted if count == most]


def other_pose(rng: random.Random, kind: ObjectType, pose: str | None) -> str:
    """A random pose of the type, other than `pose` if it has another."""
    others = [name for name in kind.poses if name != pose] or list(kind.poses)
    return pick(rng, others) if others else "standing"


def vary(individuals: Scene | Sequence[Entity | SceneObject], seed: object, scene_id: str | None = None) -> Scene:
    """A new scene with the same individuals, at most four.

    Of a given scene, the place and the poses are changed where others are possible. The first objects of the result are
    the individuals, in order, with the same looks and names; companions follow. Raises ValueError when no attempt has
    room for all.
    """
    catalog = load_catalog()
    before = individuals if isinstance(individuals, Scene) else None
    members: Sequence[Entity | SceneObject] = before.objects if before else individuals  # type: ignore[assignment]
    base = before.id if before else "vary"
    rng = rng_of("vary", base, seed)
    kinds = [catalog.types[member.type] for member in members]
    places = meeting_places(catalog, kinds)
    places = [place for place in places if before is None or place.name != before.place] or places
    for _ in range(_ATTEMPTS):
        place = pick(rng, places)
        light, view = draw_conditions(rng, place)
        cast = [
            cast_member(member, other_pose(rng, kind, getattr(member, "pose", None)))
            for member, kind in zip(members, kinds, strict=True)
        ]
        if len(cast) < 3 and rng.random() < _COMPANION:
            cast.append(random_member(rng, catalog, place, {kind.name for kind in kinds}))
        cast = with_action(rng, catalog, cast)
        objects = compose(rng, place, view, cast)
        if objects is not None and len(objects) >= len(members):
            if tuple(thing.type for thing in objects[: len(members)]) != tuple(kind.name for kind in kinds):
                continue  # one of them had no room
            background = Background(rng.getrandbits(28) * 10 + 9, between(rng, -1.0, 1.0))
            return Scene(scene_id or f"{base}~{seed}", place.name, objects, light, view, background)
    raise ValueError(f"{len(members)} individuals found no room together: give fewer of them")


def random_member(rng: random.Random, catalog: Catalog, place: Place, present: set[str]) -> CastMember:
    """A random object that fits the place and is of none of the types that are present."""
    kinds = [
        kind
        for name, kind in sorted(catalog.types.items())
        if fits(kind, place) and name not in present and not any(confusable(name, other) for other in present)
    ]
    kind = pick(rng, kinds or [catalog.types[min(present)]])
    return CastMember(draw_look(rng, kind), draw_scale(rng), other_pose(rng, kind, None))


def with_action(rng: random.Random, catalog: Catalog, cast: list[CastMember]) -> list[CastMember]:
    """The cast; in two of three cases with the first member acting on the second, if its type has a pose for that."""
    if len(cast) < 2 or rng.random() < 0.33:
        return cast
    kind, target = (catalog.types[part.look.type] for part in cast[:2])
    poses = [pose for pose in kind.poses if possible(pose, kind, target)]
    if not poses:
        return cast
    return [dataclasses.replace(cast[0], pose=pick(rng, poses), target=1), *cast[1:]]
