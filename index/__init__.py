"""From a corpus to embeddings and HNSW indexes: reading, encoding, the store. Knows no concepts, pairs or HTTP."""
