"""Pair mining over the embedding store. Built after the road that feeds it (index, retrieval)."""
