"""Sizes are read and shown in people's units."""

from __future__ import annotations

import pytest

from index.errors import BadInput
from index.sizes import parse_bytes, parse_count, show_bytes


@pytest.mark.parametrize(("text", "count"), [("400M", 400_000_000), ("20k", 20_000), ("1.5B", 1_500_000_000), ("7", 7)])
def test_counts_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(("text", "size"), [("16GB", 16 * 10**9), ("64G", 64 * 10**9), ("1.5GiB", 3 * 2**29), ("9", 9)])
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1XB", "1e9"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a size such as"):
        parse_bytes(text)


def test_sizes_are_shown_in_units_of_a_thousand() -> None:
    assert [show_bytes(size) for size in (12, 1_500, 515_000_000_000)] == ["12 bytes", "1.5 kB", "515 GB"]
