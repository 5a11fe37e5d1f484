"""Copies of remote files: whole or not at all, never stale, and the least used ones make room."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from index import local_copy as copies
from index.errors import BadInput, StoreInvalid
from index.files import as_path, as_url, remove, write_atomic
from index.local_copy import cache_folder, current_copy, local_copy


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPMINE_CACHE", str(tmp_path / "cache"))
    return as_path(f"memory://test_local_copy/{tmp_path.name}")


def test_a_copy_is_checked_and_kept(remote: Path) -> None:
    write_atomic(remote / "a.npy", b"0123")
    digest = sha256(b"0123").hexdigest()
    copied = local_copy(remote / "a.npy", 4, sha256=digest)
    assert copied.read_bytes() == b"0123"
    assert copied.parent == cache_folder()
    remove(remote / "a.npy")
    assert local_copy(remote / "a.npy", 4, sha256=digest) == copied  # as it is there, nothing is asked
    with pytest.raises(StoreInvalid, match=r"^memory://.*a.npy: is missing"):
        local_copy(remote / "a.npy", 5)


def test_what_is_not_what_was_recorded_is_not_copied(remote: Path) -> None:
    write_atomic(remote / "a", b"0123")
    with pytest.raises(StoreInvalid, match="a: has 4 bytes instead of 5"):
        local_copy(remote / "a", 5)
    with pytest.raises(StoreInvalid, match="a: has changed: its SHA-256"):
        local_copy(remote / "a", 4, sha256="0" * 64)
    assert [path.name for path in cache_folder().iterdir()] == [".locks"]


def test_a_replaced_file_gets_another_copy(remote: Path) -> None:
    write_atomic(remote / "a", b"old")
    old = current_copy(remote / "a")
    write_atomic(remote / "a", b"new")
    assert current_copy(remote / "a").read_bytes() == b"new"
    assert old.read_bytes() == b"old"
    with pytest.raises(FileNotFoundError):
        current_copy(remote / "b")


def test_local_files_are_not_copied(tmp_path: Path) -> None:
    assert local_copy(tmp_path / "a", 5) == current_copy(tmp_path / "a") == tmp_path / "a"


def test_copies_that_were_not_used_for_longest_make_room(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPMINE_CACHE_SIZE", "0.01 kB")
    for name in "abc":
        write_atomic(remote / name, b"0123")
    first, second = (local_copy(remote / name, 4) for name in "ab")
    os.utime(first, (1, 1))
    third = local_copy(remote / "c", 4)
    assert not first.exists()
    assert second.exists()
    assert third.exists()
    monkeypatch.setattr(copies, "_IN_USE", -10.0)
    assert local_copy(remote / "a", 4).exists()
    assert not second.exists()
    monkeypatch.setenv("CLIPMINE_CACHE_SIZE", "much")
    remove(first)
    with pytest.raises(BadInput, match="CLIPMINE_CACHE_SIZE: 'much': not a size"):
        local_copy(remote / "a", 4)


def test_a_path_stands_for_a_url() -> None:
    path = as_path("s3://bucket/store/")
    assert str(path) == "/s3:/bucket/store"
    assert as_url(path / "a.npy") == "s3://bucket/store/a.npy"
    assert as_path(path) == path
    assert as_url("/data/s3:/x") == "/data/s3:/x"
    with pytest.raises(BadInput):
        as_path("zip://a::s3://bucket/b.zip")
