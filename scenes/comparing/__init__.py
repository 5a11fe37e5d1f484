"""Scenes compared and edited along named axes."""
