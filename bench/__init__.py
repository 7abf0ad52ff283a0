"""Benchmarks: they report, and no test depends on what they say."""
