"""A run in the formats of other tools: ``python -m harness.export RUN --to TARGET DEST``.

Each module of ``harness.export.targets`` is a target: it has one function ``export``, and ``--to`` takes its name.
"""
