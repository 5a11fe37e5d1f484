"""Measures any open_clip model: zero-shot, linear probe, fine-tuning, retrieval, segmentation, regions.

`evaluate.evaluate` does a whole evaluation; each protocol has a module of its own. Nothing here imports
`customize.clip.train`.
"""
