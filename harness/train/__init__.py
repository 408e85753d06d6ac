"""The training path: from a trial's request to its result."""
