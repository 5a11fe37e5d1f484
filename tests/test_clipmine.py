"""The public Python API: every name is there, and importing it is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clipmine

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", clipmine.__all__)
def test_every_name_is_importable_and_documented(name: str) -> None:
    assert getattr(clipmine, name).__doc__


def test_the_type_checkers_imports_are_the_lazy_ones() -> None:
    source = (ROOT / "clipmine.py").read_text()
    for name, module in clipmine._PLACES.items():
        line = next(line for line in source.splitlines() if line.startswith(f"    from {module} import"))
        assert name in line.split("import ")[1].split(", ")
    assert sorted(clipmine._PLACES) == sorted(clipmine.__all__) == dir(clipmine)


def test_importing_it_loads_nothing_else() -> None:
    program = "import sys; before = set(sys.modules); import clipmine; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = ast.literal_eval(done.stdout)
    assert not [
        name for name in loaded if name.split(".")[0] in ("index", "jobs", "numpy", "torch", "pyarrow", "click")
    ]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'embedd'; it has .*embed"):
        _ = clipmine.embedd
