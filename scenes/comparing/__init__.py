"""Compares scenes, and edits them along named axes."""
