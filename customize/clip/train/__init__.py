"""Trains a customized CLIP: `train.train` takes a configuration and writes a model folder.

Nothing here imports `customize.clip.evaluate`.
"""
