"""The door ``python -m harness.check_methods``."""

from harness.proof.check_methods import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
