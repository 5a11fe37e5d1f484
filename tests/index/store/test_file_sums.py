"""A sample of a file tells it from another file of its size, whatever the size."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.store.file_sums import sample_file


@pytest.mark.parametrize("size", [0, 1, 4_096, 5_000, 100_000])
def test_equal_files_have_equal_samples_and_a_longer_one_has_another(tmp_path: Path, size: int) -> None:
    for name, length in (("a", size), ("b", size), ("longer", size + 1)):
        (tmp_path / name).write_bytes(bytes(length))
    assert sample_file(tmp_path / "a") == sample_file(tmp_path / "b") != sample_file(tmp_path / "longer")


@pytest.mark.parametrize("place", [0, 50_000, 99_999])
def test_a_change_at_the_start_in_the_middle_or_at_the_end_is_seen(tmp_path: Path, place: int) -> None:
    data = bytearray(100_000)
    (tmp_path / "a").write_bytes(data)
    data[place] = 1
    (tmp_path / "b").write_bytes(data)
    assert sample_file(tmp_path / "a") != sample_file(tmp_path / "b")
