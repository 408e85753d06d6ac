"""What is wrong with a run directory, and fixing it: ``python -m harness.doctor RUN``.

Each module finds faults of one kind; ``examination`` asks them all and ``fixing`` carries out what they advise. The
sweep's ``--repair`` is the part of it that concerns damaged files.
"""
