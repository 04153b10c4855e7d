"""Numbers and pictures of a predictions table."""
