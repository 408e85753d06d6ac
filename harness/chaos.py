"""The door ``python -m harness.chaos``."""

from harness.proof.chaos.__main__ import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
