"""The machinery of gpaf-bench: sweeps, trials, search, training and the run directory."""

__version__ = "0.2.0"
