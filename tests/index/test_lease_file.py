"""The file of a lease: only one process makes it, and only one replaces a version of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from index import lease_file
from tests.index.s3_server import s3_server, use_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with s3_server("leases") as url:
        yield url


@pytest.mark.parametrize("where", ["local", "memory", "s3"])
def test_one_makes_it_and_one_replaces_it(
    where: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "s3":
        use_s3(monkeypatch, request.getfixturevalue("s3"))
    roots = {"local": str(tmp_path), "memory": f"memory://test_lease_file/{tmp_path.name}", "s3": "s3://leases/x"}
    path = f"{roots[where]}/.writer.json"
    first, second, third = (json.dumps({"token": name}).encode() for name in "abc")
    assert lease_file.read(path) is None
    assert lease_file.create(path, first)
    assert not lease_file.create(path, second)
    held = lease_file.read(path)
    assert held is not None
    assert held.content == {"token": "a"}
    assert lease_file.replace(path, second, held.version)
    # Another process that read the same expired lease comes too late; without conditions the last one wins.
    assert lease_file.replace(path, third, held.version) == (where != "s3")
    now = lease_file.read(path)
    assert now is not None
    assert now.content == {"token": "b" if where == "s3" else "c"}
    lease_file.remove(path)
    assert lease_file.read(path) is None
    # On S3, nothing is replaced where nothing is.
    assert where != "s3" or not lease_file.replace(path, first, held.version)


def test_a_write_whose_answer_was_lost_is_ones_own(monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    use_s3(monkeypatch, s3)
    data = b'{"token": "a"}'
    assert lease_file.create("s3://leases/lost", data)
    assert lease_file.create("s3://leases/lost", data)
    assert lease_file.is_decided("/tmp/x")
    assert not lease_file.is_decided("s3://leases/lost")
