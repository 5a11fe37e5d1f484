"""Paths of a job on a cluster: absolute, and never in a folder that is a copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from index.errors import BadInput
from jobs.places import absolute, with_absolute


@dataclass(frozen=True)
class Places:
    store: str
    out: str | None = None
    name: str = "other"


def test_local_paths_become_absolute_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = with_absolute(Places("store"), "store", "out", executor="ray")
    assert found == Places(str(tmp_path / "store"), None, "other")
    assert absolute("s3://bucket/store") == "s3://bucket/store"


def test_the_folder_that_ray_copies_to_each_node_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    for place in ("store", "./store", str(tmp_path / "copy/store")):
        with pytest.raises(BadInput, match="ray job submit --working-dir` copies to each node and deletes"):
            with_absolute(Places(place), "store", executor="ray")
        assert with_absolute(Places(place), "store", executor="local") == Places(place)
    outside = str(tmp_path / "store")
    assert with_absolute(Places(outside), "store", executor="ray").store == outside
