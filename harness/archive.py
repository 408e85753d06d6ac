"""The door ``python -m harness.archive``."""

from harness.export.archive import main, parser

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
