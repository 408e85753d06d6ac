"""What a sweep will cost and what it can show, before it runs: ``python -m harness.plan FILE``."""
