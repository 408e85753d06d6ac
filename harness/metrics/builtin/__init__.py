"""The built-in metrics. ``harness.metrics.table`` and ``harness.plugins`` find every class in a file here."""
