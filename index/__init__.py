"""From a corpus to embeddings and HNSW indexes. Nothing here imports retrieval, customize, mining or jobs."""
