"""Held-out pictures of one object each, as tars: of the domain concepts, and of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.react_gain.arms import Plan
from scenes.drawing.render import render
from scenes.held_out.clip_tasks import single_objects
from scenes.tars import encode_jpeg, write_tar
from scenes.training.web_data import IMAGE_SIZE
from scenes.world.catalog import load_catalog
from scenes.world.scene import Scene

KINDS = ("test", "other", "validation", "shots")


def write_pictures(folder: Path, domain: Sequence[str], plan: Plan) -> Mapping[str, Path]:
    """Kind -> its tar. The scenes of `test` and `other` are of the split web_test, the rest of web_validation."""
    paths = {kind: folder / f"{kind}.tar" for kind in KINDS}
    names = tuple(domain)
    others = tuple(sorted(set(load_catalog().types) - set(names)))
    if not paths["test"].exists():
        _write(paths["test"], single_objects(names, plan.per_type, "web_test"))
    if not paths["other"].exists():
        _write(paths["other"], single_objects(others, plan.other, "web_test"))
    if not paths["shots"].exists():
        found = single_objects(names, plan.validation + plan.shots_images, "web_validation")
        _write(paths["validation"], {name: scenes[: plan.validation] for name, scenes in found.items()})
        _write(paths["shots"], {name: scenes[plan.validation :] for name, scenes in found.items()})
    return paths


def _write(path: Path, scenes: Mapping[str, Sequence[Scene]]) -> None:
    write_tar(
        path,
        (
            (
                f"{name.replace(' ', '_')}_{number:03d}",
                {"jpg": encode_jpeg(render(scene, IMAGE_SIZE).image), "cls": name.encode()},
            )
            for name, several in scenes.items()
            for number, scene in enumerate(several)
        ),
    )
