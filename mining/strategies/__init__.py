"""The mining strategies: each proposes image sets for one reason. `registry` lists them by name."""
