"""What a CLIP can do: zero-shot, linear probe, fine-tuning, retrieval, segmentation, regions; any open_clip model.

Knows nothing of stores, selections or how a model was trained.
"""
