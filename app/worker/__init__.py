"""Everything that runs without a request."""
