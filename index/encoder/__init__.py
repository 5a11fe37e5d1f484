"""CLIP models: which one is meant, loading it, and encoding texts and images."""
