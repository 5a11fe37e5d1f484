"""Draws scenes: background, objects, mask and boxes."""
