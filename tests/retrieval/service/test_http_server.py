from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import json, resource, sys
from index.errors import BadInput
from retrieval.service.http_server import most_connections
from retrieval.service.settings import Settings
soft, hard = map(int, sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    print(json.dumps([most_connections(Settings(connections=500)), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]))
except BadInput as error:
    print(json.dumps([str(error), 0]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "least", "most"), [(200, 4_000, 500, 500), (200, 200, 50, 135), (4_000, 4_000, 500, 500)]
)
def test_connections_stay_below_the_number_of_files(soft: int, hard: int, least: int, most: int) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, str(soft), str(hard)], capture_output=True, check=True, cwd=ROOT)
    connections, now = json.loads(done.stdout)
    assert least <= connections <= most
    assert connections < now <= hard


def test_too_few_files_are_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, "70", "70"], capture_output=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout)[0].startswith("only 70 files may be open, of which ")
