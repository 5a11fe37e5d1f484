"""Training a customized CLIP, from its configuration to its model folder."""
