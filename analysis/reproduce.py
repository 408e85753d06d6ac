"""The door ``python -m analysis.reproduce``."""

from harness.proof.reproduce import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
