"""Texts about scenes: captions, alt texts, questions with answers."""
