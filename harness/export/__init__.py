"""A run in the formats of other tools: ``python -m harness.export RUN --to NAME DEST``.

Each format is a class ``Export`` in a file: the built-in ones are in ``harness.export.targets``, a user's in a folder
that ``--plugins`` names.
"""
