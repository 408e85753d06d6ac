"""Studies: what a sweep consists of, and how each of them stands."""
