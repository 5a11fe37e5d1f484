"""Clients of the retrieval service, synchronous and asynchronous."""
