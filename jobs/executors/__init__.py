"""Running work items: in local processes, on Ray, on Spark."""
