"""Bytes to pixels: an image is decoded right, as 8-bit RGB, or rejected with a reason. Knows no corpora or models."""

from __future__ import annotations

MAX_IMAGE_BYTES = 64 << 20  # the largest photographs of today's cameras stay under it
MAX_IMAGE_PIXELS = 100_000_000
