"""Old import paths say where their modules are now."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

import customize
import index
import jobs
import mining
import retrieval
from index.encoder.model_spec import ModelSpec
from index.moved import MovedFinder, moved_folder, places

MODULES = {old: new for old, new in places().items() if ":" not in old}
NAMES = {old: new for old, new in places().items() if ":" in old}


@pytest.mark.parametrize(("old", "new"), MODULES.items())
def test_an_import_of_a_moved_module_names_the_new_place(old: str, new: str) -> None:
    with pytest.raises(ImportError, match=f"{old} has moved: import from {new} instead"):
        importlib.import_module(old)
    assert importlib.util.find_spec(new) is not None


@pytest.mark.parametrize(("old", "new"), NAMES.items())
def test_a_name_that_has_moved_names_the_new_place(old: str, new: str) -> None:
    package, name = old.split(":")
    with pytest.raises(ImportError, match=f"{package}.{name} has moved: import it from {new} instead"):
        getattr(importlib.import_module(package), name)
    if old != "jobs.serve_ray:build":  # Ray Serve's own object, made when it is asked for
        assert hasattr(importlib.import_module(new), name)


def test_every_floor_watches_for_old_paths() -> None:
    assert all(floor.__doc__ for floor in (index, retrieval, customize, mining, jobs))
    assert sys.meta_path.count(MovedFinder) == 1


def test_what_never_was_is_an_ordinary_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'index.never_was'"):
        importlib.import_module("index.never_was")
    with pytest.raises(ImportError, match=r"cannot import name 'never_was' from 'index.corpus'"):
        from index.corpus import never_was  # noqa: F401


def test_the_former_folder_of_the_small_clip_leads_to_the_new_one(tmp_path: Path) -> None:
    former = str(tmp_path / "examples" / "scenes" / "model")
    assert moved_folder(former) == former  # nothing is at the new place
    now = tmp_path / "scenes" / "models" / "clip"
    now.mkdir(parents=True)
    assert moved_folder(former) == str(now)
    assert ModelSpec(model_dir=former).model_dir == str(now)
    Path(former).mkdir(parents=True)
    assert moved_folder(former) == former
