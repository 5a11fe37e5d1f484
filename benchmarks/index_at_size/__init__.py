"""Indexes of stores with a million rows and more: equal builds, bounded memory, growth of time."""
