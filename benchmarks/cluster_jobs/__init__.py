"""Jobs that are submitted to real clusters of several nodes on this machine, which lose one in the middle of each."""
