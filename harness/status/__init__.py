"""How a run stands: ``python -m harness.status RUN``."""
