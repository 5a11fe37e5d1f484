"""The commands, one module each: options in, a job called, its summary printed. Imported when called."""
