"""The door ``python -m analysis.reproduce``."""

from harness.proof.reproduce import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
