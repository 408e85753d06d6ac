"""The door ``python -m harness.replay``."""

from harness.proof.replay import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
