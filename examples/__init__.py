"""Worlds to try the engine on."""
