"""Executors, one entry point per job, and the clipmine command. Distributes what the other folders own."""
