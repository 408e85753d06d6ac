"""Whether the intervals and tests hold what they promise, in simulated sweeps."""
