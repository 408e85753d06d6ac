"""The door ``python -m harness.chaos``."""

from harness.proof.chaos.__main__ import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
