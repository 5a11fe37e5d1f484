"""The content of scenes and how they are sampled: catalog, individuals, actions, stories, splits."""
