"""Sizes and counts as people write them: "64GB", "1.5GiB", "400M"."""

from __future__ import annotations

import re

from index.errors import BadInput

__all__ = ["parse_bytes", "parse_count", "show_bytes"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_BYTE_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {"KI": 2**10, "MI": 2**20, "GI": 2**30}


def parse_count(text: str) -> int:
    """ "400M" -> 400,000,000; K, M, B (or G) and T are powers of ten. Raises BadInput for anything else."""
    return _parse(text, _UNITS, "a number of rows such as 20000, 12M or 1.5B")


def parse_bytes(text: str) -> int:
    """ "16GB" or "16G" -> 16 x 10^9, "16GiB" -> 16 x 2^30. Raises BadInput for anything else."""
    return _parse(re.sub(r"B$", "", text.strip(), flags=re.IGNORECASE), _BYTE_UNITS, "a size such as 512MB or 64GB")


def _parse(text: str, units: dict[str, int], wanted: str) -> int:
    match = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z]{0,2})\s*", text)
    unit = units.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise BadInput(f"{text!r}: not {wanted}")
    return int(float(re.sub("[_,]", "", match[1])) * unit)


def show_bytes(size: int) -> str:
    """1,500,000,000 -> "1.5 GB", in powers of ten."""
    value, units = float(size), ["bytes", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1_000 and len(units) > 1:
        value, units = value / 1_000, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "bytes" else f"{value:.1f} {units[0]}"
