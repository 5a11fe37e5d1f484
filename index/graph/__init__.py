"""HNSW indexes over a store: capacity, build, search, and recall against exact search."""
