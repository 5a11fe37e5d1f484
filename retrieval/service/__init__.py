"""The retrieval service: an open store behind HTTP. `create_app` in `app.py` makes it, `clipmine serve` runs it."""
