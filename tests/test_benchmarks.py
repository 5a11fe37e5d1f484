"""The benchmarks' command lines: each one prints its help at once, and its README names all of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks"
# Modules that the benchmarks only need once they measure.
HEAVY = ("torch", "open_clip", "faiss", "ray", "pyspark", "cv2", "pyarrow", "transformers", "numpy", "httpx")
PROGRAM = """
import contextlib, importlib, io, sys
for name in sys.argv[1:]:
    text = io.StringIO()
    sys.argv = [name, "--help"]
    try:
        with contextlib.redirect_stdout(text):
            importlib.import_module(name).main()
    except SystemExit as stopped:
        status = stopped.code
    loaded = [module for module in HEAVY if module in sys.modules]
    print(name, status, "usage:" in text.getvalue(), "--quick" in text.getvalue(), loaded)
"""


def _commands() -> list[str]:
    """The modules that `python -m` starts: files with a main beside the README, and packages with `__main__`."""
    files = [path.stem for path in FOLDER.glob("*.py") if "def main()" in path.read_text()]
    return sorted([*files, *(path.parent.name for path in FOLDER.glob("*/__main__.py"))])


def _module(command: str) -> str:
    package = (FOLDER / command / "__main__.py").exists()
    return f"benchmarks.{command}.__main__" if package else f"benchmarks.{command}"


def test_every_benchmark_prints_its_help_and_loads_nothing_heavy_for_it() -> None:
    program = f"HEAVY = {HEAVY!r}\n{PROGRAM}"
    modules = [_module(command) for command in _commands()]
    done = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{module} 0 True True []" for module in modules]


def test_a_benchmark_starts_by_its_name_as_a_module() -> None:
    command = [sys.executable, "-m", "benchmarks.react_ablation", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "python -m benchmarks.react_ablation" in done.stdout


def test_the_readme_has_a_row_for_every_benchmark() -> None:
    rows = re.findall(r"^\| `(\w+)[ `]", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(set(rows)) == _commands()
