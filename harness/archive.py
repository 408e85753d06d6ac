"""The door ``python -m harness.archive``."""

from harness.export.archive import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
