"""The service on Ray under load while processes of its shards are killed."""
