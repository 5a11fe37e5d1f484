"""Scenes in words: captions, alt text, questions."""
