"""The door ``python -m harness.replay``."""

from harness.proof.replay import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
