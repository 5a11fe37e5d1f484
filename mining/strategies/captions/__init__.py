"""Captions compared with each other: the nouns they share, and the facts in which they differ."""
