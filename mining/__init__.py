"""Pair mining over the embedding store: images worth comparing, as sets with their reasons. Knows no training."""

from __future__ import annotations

from mining.image_sets import ImageSet, ImageSets, Member, PairSet

__all__ = ["ImageSet", "ImageSets", "Member", "PairSet"]
