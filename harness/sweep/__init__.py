"""Run a sweep: ``python -m harness.sweep FILE``."""
