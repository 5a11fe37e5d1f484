"""The retrieval service on Ray Serve: replicas, shard groups, partial answers."""
