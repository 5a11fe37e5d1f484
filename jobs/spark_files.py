"""Writes what spark-submit sends to a cluster that does not have our packages.

    python -m jobs.spark_files DIR
    spark-submit --master spark://host:7077 --py-files DIR/clipmine.zip DIR/clipmine-spark.py embed ...

DIR/clipmine.zip holds our packages, DIR/clipmine-spark.py starts the command line. What they need from PyPI (torch,
open_clip_torch, faiss-cpu, ...) must be on the machines, or in an archive of an environment (`--archives`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.executors.on_spark import zip_packages

__all__ = ["write_spark_files"]

_LAUNCHER = '''"""Starts clipmine from its archive: spark-submit --py-files clipmine.zip clipmine-spark.py embed ..."""

from jobs.cli import main

main()
'''


def write_spark_files(folder: Path) -> tuple[Path, Path]:
    """Write the archive and the launcher into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    archive, launcher = folder / "clipmine.zip", folder / "clipmine-spark.py"
    zip_packages(archive)
    launcher.write_text(_LAUNCHER)
    return archive, launcher


def main() -> int:
    """Write the files into the folder that the command line names and print the command that uses them."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m jobs.spark_files DIR", file=sys.stderr)
        return 2
    archive, launcher = write_spark_files(Path(sys.argv[1]))
    print(f"spark-submit --py-files {archive} {launcher} COMMAND ...")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
