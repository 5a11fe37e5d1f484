"""The files beside the code: an installed package must have all that it opens."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scenes.world.catalog import FOLDER

ROOT = Path(__file__).parent.parent
MODEL_FOLDER = ROOT / "scenes" / "models" / "clip"
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
ROOTS = sorted({name.split(".")[0] for name in SETUPTOOLS["packages"]})
# Documentation, which no code opens: Markdown, and the figures of the model cards.
READ_BY_PEOPLE = {
    *(path for root in ROOTS for path in (ROOT / root).rglob("*.md")),
    *MODEL_FOLDER.parent.glob("*/card/*.png"),
}


def _packaged() -> dict[tuple[str, str], set[Path]]:
    """(package, pattern) -> the files that setuptools puts into the wheel for it."""
    return {
        (package, pattern): {path for path in (ROOT / package.replace(".", "/")).glob(pattern) if path.is_file()}
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
    }


def test_every_data_file_beside_the_code_is_in_the_wheel() -> None:
    found = {path for root in ROOTS for path in (ROOT / root).rglob("*") if path.is_file()}
    data = {path for path in found if path.suffix not in (".py", ".pyc")} - READ_BY_PEOPLE
    missing = data - set().union(*_packaged().values())
    assert sorted(str(path.relative_to(ROOT)) for path in missing) == []


def test_every_pattern_of_package_data_matches_a_file_of_a_listed_package() -> None:
    for (package, pattern), files in _packaged().items():
        assert package in SETUPTOOLS["packages"]
        assert files, f"{pattern} of {package} matches nothing"


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "scenes" / "concepts.txt",
        FOLDER / "places.json",
        FOLDER / "plans.json",
        MODEL_FOLDER / "open_clip_config.json",
        MODEL_FOLDER / "open_clip_model.safetensors",
        MODEL_FOLDER / "tokenizer.json",
        MODEL_FOLDER / "tokenizer_config.json",
    ],
    ids=lambda path: path.name,
)
def test_what_the_demo_opens_is_in_the_wheel(path: Path) -> None:
    assert path in set().union(*_packaged().values())
