"""The sub-commands of clipmine, a module each: options in, a job called, its summary printed."""
