"""From a corpus to embeddings and HNSW indexes. Nothing here imports retrieval, customize, mining or jobs."""

from index.moved import watch_moved_imports

watch_moved_imports()
