"""The service beside the back end of clip-retrieval."""
