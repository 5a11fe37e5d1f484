"""The embedding store: the job that writes it, reading it, adopting a foreign one, removing rows."""
