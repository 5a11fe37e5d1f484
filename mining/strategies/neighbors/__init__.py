"""Nearest rows of sampled anchors, in image or caption space, and the similarity of pairs and sets."""
