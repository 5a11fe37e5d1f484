"""What is in a scene, and how one is sampled: the catalog, entities, actions, stories."""
