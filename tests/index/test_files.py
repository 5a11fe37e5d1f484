"""Files appear whole or not at all, local or at a URL; a full disk says so."""

from __future__ import annotations

import errno
import hashlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors import SafetensorError

from index import files
from index.errors import BadInput, DiskFull


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path) if request.param == "local" else f"memory://test_files/{tmp_path.name}"
    memory = fsspec.filesystem("memory")
    if memory.exists("/test_files"):
        memory.rm("/test_files", recursive=True)


def test_what_is_written_is_read_back(root: str) -> None:
    path = files.join(root, "deep", "a.bin")
    assert not files.exists(path)
    files.write_atomic(path, b"0123456789")
    assert files.exists(path)
    assert files.file_size(path) == 10
    assert files.read_bytes(path) == b"0123456789"
    assert files.read_bytes_range(path, 3, 4) == b"3456"
    assert files.read_bytes_range(path, 8, 10) == b"89"
    assert files.read_bytes_range(path, 8, 0) == b""
    assert files.sha256_file(path) == hashlib.sha256(b"0123456789").hexdigest()
    files.write_atomic(path, "é")
    assert files.read_bytes(path) == b"\xc3\xa9"
    files.remove(path)
    files.remove(path)
    assert not files.exists(path)


def test_a_failed_write_leaves_what_was_there(root: str) -> None:
    path = files.join(root, "a.txt")
    files.write_atomic(path, b"old")
    with pytest.raises(FileNotFoundError), files.atomic_file(path) as partial:
        partial.with_name("elsewhere").joinpath("x").write_bytes(b"fails")
    assert files.read_bytes(path) == b"old"


def test_nothing_half_written_stays_and_leftovers_can_be_cleared(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a", b"x")
    (tmp_path / ".b.123-456.partial").write_bytes(b"left by a killed writer")
    files.remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_joining_paths_and_urls() -> None:
    assert files.join("s3://bucket/", "a", "b.tar") == "s3://bucket/a/b.tar"
    assert files.join("/data", "a/b") == "/data/a/b"
    assert files.join("/", "a") == "/a"
    assert files.join("", "a") == "a"
    assert files.join_inside("/data", "a/b..c.png") == "/data/a/b..c.png"


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../../b", "s3://x/a", "a\\..\\b", "\\a", "x::y"])
def test_joining_inside_refuses_what_leads_out(name: str) -> None:
    with pytest.raises(BadInput, match="leaves its folder"):
        files.join_inside("/data", name)


def test_what_is_mapped_must_be_local() -> None:
    assert files.local_path("file:///a/b") == Path("/a/b")
    with pytest.raises(BadInput, match="must be a local path"):
        files.local_path("s3://bucket/a")
    with pytest.raises(BadInput, match="cannot be opened"):
        files.open_file("s4://bucket/a")


def test_a_file_that_is_deleted_while_a_folder_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_file = Path.is_file

    def then_deleted(path: Path) -> bool:
        found = is_file(path)
        if path.name == "b":
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", then_deleted)
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"22")
    assert files.list_sizes(tmp_path) == {"a": 1}


def test_hash_does_not_depend_on_the_order_of_fields() -> None:
    assert (
        files.hash_json({"a": 1, "b": [2]})
        == files.hash_json({"b": [2], "a": 1})
        != files.hash_json({"a": 1, "b": [3]})
    )


def test_a_folder_that_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match=r"file/below: cannot be made \(Not a directory\); choose another folder"):
        files.make_folder(tmp_path / "file/below")
    with pytest.raises(BadInput, match=r"file: cannot be made \(File exists\)"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(BadInput, match=r"file: cannot be made"):
        files.write_atomic(tmp_path / "file/written", b"x")
    with pytest.raises(BadInput, match=r"File name too long"):
        files.make_folder(tmp_path / ("x" * 300))


def test_no_space_becomes_disk_full_with_the_place(tmp_path: Path) -> None:
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("faiss: write error: No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ):
        with pytest.raises(DiskFull, match="free some"), files.disk_full(tmp_path / "a"):
            raise error


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    for error in (OSError(errno.EACCES, "Permission denied"), RuntimeError("unrelated"), ValueError("x")):
        with pytest.raises(type(error), match=str(error.args[-1])), files.disk_full(tmp_path):
            raise error


def test_an_error_of_writing_names_the_file(tmp_path: Path) -> None:
    for error in (
        OSError(errno.EIO, "Input/output error"),
        SafetensorError("Error while serializing: I/O error: Input/output error (os error 5)"),
    ):
        with pytest.raises(OSError, match=f"Input/output error.*: '{tmp_path}/a'"), files.disk_full(tmp_path / "a"):
            raise error
    with pytest.raises(SafetensorError, match="invalid header"), files.disk_full(tmp_path):
        raise SafetensorError("Error while deserializing header: invalid header")


def test_a_short_write_on_a_disk_with_room_is_no_full_disk(tmp_path: Path) -> None:
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"requested and|File too large"), files.disk_full(tmp_path):
            np.zeros(100_000).tofile(tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_truly_full_disk_is_disk_full() -> None:
    # A device of Linux on which every write finds no space.
    with pytest.raises(DiskFull), files.disk_full("/dev/full"), open("/dev/full", "wb", buffering=0) as stream:
        stream.write(b"x")
