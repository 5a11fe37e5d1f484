"""The same files have the same content, also remote ones; another size, time or name makes it another."""

from __future__ import annotations

import os
from pathlib import Path

from customize.clip.evaluate.datasets.content import content_of
from index import files


def test_names_sizes_and_times_decide(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"same")
        os.utime(tmp_path / name, ns=(0, 0))
    whole = content_of(str(tmp_path))
    assert whole == content_of(str(tmp_path), ["b.jpg", "a.jpg"])
    assert whole != content_of(str(tmp_path), ["a.jpg"])
    os.utime(tmp_path / "a.jpg", ns=(0, 10**9))
    later = content_of(str(tmp_path))
    (tmp_path / "a.jpg").rename(tmp_path / "c.jpg")
    assert len({whole, later, content_of(str(tmp_path)), content_of(str(tmp_path), ["none.jpg"])}) == 4


def test_remote_files_are_told_apart() -> None:
    root = "memory://content"
    for name in ("one/a.jpg", "one/b.jpg"):
        files.write_atomic(files.join(root, name), b"same")
    whole = content_of(root)
    assert content_of(root) == whole
    assert content_of(root, ["one/a.jpg"]) != whole
    files.write_atomic(files.join(root, "one/a.jpg"), b"other bytes")
    assert content_of(root) != whole
